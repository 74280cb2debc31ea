"""Manifests that people bring, as CSV or Parquet, with all that spreadsheets do to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pneumoscope.datasets import (
    Collection,
    CollectionOptions,
    Layout,
    build_manifest,
    open_collection,
    read_columns,
    resolve_splits,
)
from pneumoscope.errors import DataError

Paint = Callable[..., Path]


@pytest.fixture
def images(tmp_path: Path, paint: Paint) -> Path:
    """A folder with img/0.png … img/5.png."""
    for i in range(6):
        paint(tmp_path / "img" / f"{i}.png")
    return tmp_path


def _write(folder: Path, text: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


def _rows(labels: str = "001100") -> str:
    return "".join(f"img/{i}.png,{label}\n" for i, label in enumerate(labels))


def _labels(found: Collection) -> str:
    return "".join("1" if item.label == "PNEUMONIA" else "0" for item in found.items)


@pytest.mark.parametrize("header", ["path,label", "file,label", "filename,label", "image,label"])
def test_a_csv_names_images_relative_to_itself(images: Path, header: str) -> None:
    found = open_collection(_write(images, f"{header}\n{_rows()}"))
    assert found.layout is Layout.MANIFEST
    assert _labels(found) == "001100"
    assert [item.ref for item in found.items] == [str(images / f"img/{i}.png") for i in range(6)]
    assert "layout 'manifest': 4 NORMAL, 2 PNEUMONIA" in " ".join(found.notes)
    assert {item.source for item in found.items} == {"table"}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pl.Int8, [0, 0, 1, 1, 0, 0]),
        (pl.Float64, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
        (pl.Boolean, [False, False, True, True, False, False]),
        (pl.String, ["Normal", "normal", "PNEUMONIA", "Pneumonia", "NORMAL", "healthy"]),
        (pl.Categorical, ["0", "0", "1", "1", "0", "0"]),
    ],
)
def test_a_parquet_table_may_hold_labels_of_any_type(
    images: Path, kind: pl.DataType, values: list[object]
) -> None:
    frame = pl.DataFrame({"path": [f"img/{i}.png" for i in range(6)]})
    frame = frame.with_columns(pl.Series("label", values, dtype=kind))
    frame.write_parquet(images / "table.parquet")
    assert _labels(open_collection(images / "table.parquet")) == "001100"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_csv_from_a_spreadsheet_is_read(images: Path, encoding: str, newline: str) -> None:
    text = f'path,label,"a, note"\n{_rows()}'.replace("0\n", '0 ,"x, y"\n').replace("1\n", " 1,\n")
    found = open_collection(_write(images, text.replace("\n", newline), encoding=encoding))
    assert _labels(found) == "001100"


def test_columns_may_have_other_names(images: Path) -> None:
    rows = "".join(f"img/{i}.png,{'sick' if i < 2 else 'well'},p{i // 2},{i}\n" for i in range(6))
    table = _write(images, f"path,finding,who,part\n{rows}".replace(",4\n", ",\n"))
    with pytest.raises(DataError, match=r"no label column 'label', it has path, finding, who"):
        open_collection(table)
    options = CollectionOptions(label_column="finding", positive="SICK", patient_column="who")
    found = open_collection(table, options)
    assert _labels(found) == "110000"
    assert [item.patient for item in found.items] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    with pytest.raises(DataError, match="no patient column 'whom'"):
        open_collection(table, CollectionOptions(label_column="finding", patient_column="whom"))
    with pytest.raises(DataError, match="has a split '0': train, val and test are known"):
        open_collection(
            table, CollectionOptions(label_column="finding", positive="sick", split_column="part")
        )


def test_a_split_column_is_kept_under_any_usual_name(images: Path) -> None:
    names = ["train", "Training", " VAL", "validation", "dev", "test"]
    rows = "".join(f"img/{i}.png,{i % 2},{name}\n" for i, name in enumerate(names))
    found = open_collection(_write(images, f"path,label,split\n{rows}"))
    assert [i.split for i in found.items] == ["train", "train", "val", "val", "val", "test"]


def test_a_complete_split_is_kept_and_said(tmp_path: Path, paint: Paint) -> None:
    rows = []
    for i in range(40):
        paint(tmp_path / f"{i}.png")
        split = ("train", "val", "test")[i // 2 % 3]
        rows.append(f"{i}.png,{i % 2},{split},p{i}\n")
    found = open_collection(_write(tmp_path, "path,label,split,patient\n" + "".join(rows)))
    before = build_manifest(found).frame
    result = resolve_splits(before, found.layout)
    assert result.frame["split"].to_list() == before["split"].to_list()
    assert result.notes == ("The splits that the data brings are kept.",)


def test_empty_cells_are_no_patient(images: Path) -> None:
    rows = "".join(f"img/{i}.png,{i % 2},{who}\n" for i, who in enumerate(["", " ", '""', "a"] * 2))
    rows = "".join(rows.splitlines(keepends=True)[:6])
    found = open_collection(_write(images, f"path,label,patient\n{rows}"))
    assert [item.patient for item in found.items] == [None, None, None, "a", None, None]
    assert build_manifest(found).frame["group"].n_unique() == 6


def test_names_of_the_kermany_collection_tell_patients(tmp_path: Path, paint: Paint) -> None:
    names = ["IM-1-1", "IM-1-2", "person1_virus_1", "person1_bacteria_2"]
    rows = [f"{paint(tmp_path / f'{name}.png').name},{i // 2}" for i, name in enumerate(names)]
    found = open_collection(_write(tmp_path, "path,label\n" + "\n".join(rows)))
    assert [item.patient for item in found.items] == ["IM-1", "IM-1", "virus-1", "bacteria-1"]


def test_rows_without_file_or_label_are_left_out_and_listed(images: Path) -> None:
    rows = f"{_rows()}img/none.png,1\nimg/0.png/x,1\n,1\nimg,1\nimg/5.png,\n"
    found = open_collection(_write(images, f"path,label\n{rows}"))
    assert len(found.items) == 6
    assert len(found.skipped) == 5
    assert f"5 rows were left out, the first: {images / 'img/none.png'} does not exist." in (
        found.notes
    )
    assert all(entry.path in entry.reason for entry in found.skipped)


def test_a_row_twice_counts_once_and_is_said(images: Path) -> None:
    rows = f"{_rows()}img/0.png,0\n./img/1.png,0\nimg/2.png,1\n"
    found = open_collection(_write(images, f"path,label\n{rows}"))
    assert _labels(found) == "001100"
    assert "3 rows repeat others and were passed over." in found.notes


def test_an_image_with_two_labels_is_an_error(images: Path) -> None:
    with pytest.raises(DataError, match=r"img/0\.png twice, with different labels"):
        open_collection(_write(images, f"path,label\n{_rows()}img/0.png,1\n"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"cannot be read as a table \(it is empty\): save it as CSV"),
        ("\n\n", "cannot be read as a table|no path column"),
        ("path,label\n", "holds no labelled images"),
        ("path;label\nimg/0.png;1\n", "no path column 'path' or 'file' or 'filename' or 'image'"),
        ("path\nimg/0.png\n", "no label column 'label', it has path; name it with --label-column"),
        ("path,label\nimg/0.png,1,2,3\n", "a row has more cells than there are columns"),
        ("path,label\nimg/0.png,1\nimg/1.png,1\n", "0 NORMAL, 2 PNEUMONIA: two classes"),
        ("path,label\nimg/0.png,2\nimg/1.png,3\n", "The classes are 2, 3: say with --positive"),
        ("path,label\nnone.png,0\nnone.png,1\n", "holds no labelled images"),
    ],
)
def test_a_table_that_will_not_do_is_one_sentence(images: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        open_collection(_write(images, text))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["label", "path", "ward"])
def test_a_column_that_is_there_twice_is_refused(images: Path, name: str) -> None:
    rows = _rows().replace("\n", ",A,x\n")
    table = _write(images, f"path,label,ward,{name}\n{rows}")
    with pytest.raises(DataError, match=f"has the column '{name}' more than once") as caught:
        open_collection(table)
    assert "\n" not in str(caught.value)


def test_a_column_of_a_parquet_file_that_is_there_twice_is_refused(images: Path) -> None:
    values = {"path": [f"img/{i}.png" for i in range(6)], "label": list("001100")}
    file = images / "table.parquet"
    pl.DataFrame(values | {"lobel": list("110011")}).write_parquet(file)
    file.write_bytes(file.read_bytes().replace(b"lobel", b"label"))  # no tool here writes it
    with pytest.raises(DataError, match=r"cannot be read as a table \(column with name 'label'"):
        open_collection(file)


def test_columns_that_a_spreadsheet_leaves_without_a_name_are_passed_over(images: Path) -> None:
    table = _write(images, f"path,label,,\n{_rows()}".replace("0\n", "0,,\n"))
    assert _labels(open_collection(table)) == "001100"


def test_other_bytes_than_text_are_one_sentence(images: Path) -> None:
    for name in ("table.csv", "table.parquet"):
        (images / name).write_bytes(b"\xff\xfe\x00PAR1\xd8" * 9)
        with pytest.raises(DataError, match=f"{name} cannot be read as a table|no path column"):
            open_collection(images / name)


def test_a_positive_value_that_is_not_there_is_an_error(images: Path) -> None:
    with pytest.raises(DataError, match="There is no class '7': found 0, 1"):
        open_collection(_write(images, f"path,label\n{_rows()}"), CollectionOptions(positive="7"))


@pytest.mark.parametrize("name", ["manifest.csv", "labels.csv"])
@pytest.mark.parametrize("wrapper", ["", "set"])
def test_the_folder_of_a_table_is_as_good(
    tmp_path: Path, paint: Paint, name: str, wrapper: str
) -> None:
    folder = tmp_path / "around" / wrapper
    for i in range(6):
        paint(folder / "img" / f"{i}.png")
    _write(folder, f"path,label\n{_rows()}", name)
    found = open_collection(tmp_path / "around")
    assert found.root == folder / name
    assert _labels(found) == "001100"


def test_several_tables_in_a_folder_must_be_told_apart(images: Path) -> None:
    _write(images, f"path,label\n{_rows()}", "one.csv")
    _write(images, f"path,label\n{_rows()}", "two.csv")
    with pytest.raises(DataError):
        open_collection(images)
    assert open_collection(images / "two.csv").root.name == "two.csv"


def test_columns_of_a_persons_own_come_by_image(images: Path) -> None:
    rows = "".join(
        f"img/{i}.png,{i % 2},{age}, w{i} \n" for i, age in enumerate([3, 1, "", 5, 9, 2])
    )
    table = _write(images, f"path,label,age,ward\n{rows},0,7,lost\n")
    found = read_columns(table, ["ward", "age", "sex"])
    assert found.columns == ["path", "ward", "age"]
    assert found["age"].to_list() == ["3", "1", None, "5", "9", "2"]
    assert found["ward"].to_list() == [f"w{i}" for i in range(6)]
    joined = build_manifest(open_collection(table)).frame.join(found, on="path", how="left")
    assert joined["ward"].null_count() == 0
