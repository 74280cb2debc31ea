"""However the images lie, the layout is recognised and said aloud, or refused in one sentence."""

from __future__ import annotations

import os
from collections import Counter
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
    reorganize,
    resolve_splits,
)
from pneumoscope.errors import DataError

Paint = Callable[..., Path]


def _count(found: Collection) -> dict[str, int]:
    return dict(Counter(item.label for item in found.items))


def _say(found: Collection) -> str:
    return " ".join(found.notes)


def _fill(paint: Paint, folder: Path, n: int = 2) -> None:
    for i in range(n):
        paint(folder / f"{i}.png")


# -- recognised ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normal", "pneumonia"),
    [("NORMAL", "PNEUMONIA"), ("normal", "pneumonia"), ("Normal", "Pneumonia"), ("0", "1")],
)
def test_class_folders_in_any_case(
    tmp_path: Path, paint: Paint, normal: str, pneumonia: str
) -> None:
    _fill(paint, tmp_path / normal, 2)
    _fill(paint, tmp_path / pneumonia, 3)
    found = open_collection(tmp_path)
    assert found.layout is Layout.FOLDERS
    assert _count(found) == {"NORMAL": 2, "PNEUMONIA": 3}
    assert "has the layout 'folders': 2 NORMAL, 3 PNEUMONIA." in _say(found)
    said = build_manifest(found).notes
    assert "Patients are unknown: images of one patient may straddle splits." in said


@pytest.mark.parametrize("said", ["opacity", "Opacity", "OPACITY"])
def test_other_class_names_need_the_positive_one(tmp_path: Path, paint: Paint, said: str) -> None:
    _fill(paint, tmp_path / "clear", 2)
    _fill(paint, tmp_path / "Opacity", 3)
    with pytest.raises(DataError, match=r"classes are Opacity, clear: say with --positive"):
        open_collection(tmp_path)
    found = open_collection(tmp_path, CollectionOptions(positive=said))
    assert _count(found) == {"NORMAL": 2, "PNEUMONIA": 3}


def test_a_positive_class_that_is_not_there_is_an_error(kermany: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no class 'Pneumo': found NORMAL, PNEUMONIA"):
        open_collection(kermany(), CollectionOptions(positive="Pneumo"))


def test_a_third_class_is_an_error(tmp_path: Path, paint: Paint) -> None:
    for name in ("NORMAL", "PNEUMONIA", "TUBERCULOSIS"):
        _fill(paint, tmp_path / name)
    for positive in (None, "PNEUMONIA"):
        with pytest.raises(DataError, match="NORMAL, PNEUMONIA, TUBERCULOSIS"):
            open_collection(tmp_path, CollectionOptions(positive=positive))


def test_kaggles_layout_carries_splits_patients_and_subtypes(tmp_path: Path, paint: Paint) -> None:
    for split in ("train", "test"):
        paint(tmp_path / split / "NORMAL" / f"NORMAL2-IM-{len(split)}-0001.jpeg")
        paint(tmp_path / split / "PNEUMONIA" / f"person{len(split)}_virus_7.jpeg")
    found = open_collection(tmp_path)
    assert found.layout is Layout.KAGGLE
    assert [(item.split, item.patient, item.subtype, item.source) for item in found.items] == [
        ("train", "NORMAL2-IM-5", "none", "kaggle"),
        ("train", "virus-5", "virus", "kaggle"),
        ("test", "NORMAL2-IM-4", "none", "kaggle"),
        ("test", "virus-4", "virus", "kaggle"),
    ]
    assert "Patients are unknown" not in " ".join(build_manifest(found).notes)


def test_class_names_may_differ_in_case_between_splits(tmp_path: Path, paint: Paint) -> None:
    for folder in ("train/sick", "train/well", "val/Sick", "val/Well"):
        _fill(paint, tmp_path / folder)
    found = open_collection(tmp_path, CollectionOptions(positive="sick"))
    assert _count(found) == {"NORMAL": 4, "PNEUMONIA": 4}


@pytest.mark.parametrize("wrapper", ["chest_xray", "Some folder of mine"])
@pytest.mark.parametrize("below", ["", "train/"])
def test_the_folder_around_is_as_good(
    tmp_path: Path, paint: Paint, wrapper: str, below: str
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        _fill(paint, tmp_path / wrapper / f"{below}{label}")
    (tmp_path / "__MACOSX").mkdir()
    found = open_collection(tmp_path)
    assert found.root == (tmp_path / wrapper).resolve()
    assert len(found.items) == 4


def test_the_train_folder_alone_is_class_folders(tmp_path: Path, paint: Paint) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        _fill(paint, tmp_path / "train" / label)
    assert open_collection(tmp_path / "train").layout is Layout.FOLDERS


def test_what_was_reorganised_is_recognised(kermany: Callable[..., Path], tmp_path: Path) -> None:
    reorganize(kermany(), tmp_path / "out")
    found = open_collection(tmp_path / "out")
    assert found.layout is Layout.REORGANIZED
    assert {item.split for item in found.items} == {"train", "val", "test"}
    assert len({item.patient for item in found.items}) == 24
    forced = open_collection(tmp_path / "out", CollectionOptions(layout=Layout.KAGGLE))
    assert forced.layout is Layout.KAGGLE
    assert {(i.ref, i.label) for i in forced.items} == {(i.ref, i.label) for i in found.items}


@pytest.mark.parametrize("layout", [Layout.KAGGLE, Layout.MANIFEST, Layout.NPZ, Layout.REORGANIZED])
def test_a_layout_that_is_forced_but_is_not_there_is_an_error(
    kermany: Callable[..., Path], layout: Layout
) -> None:
    with pytest.raises(DataError, match=f"does not have the layout '{layout.value}'"):
        open_collection(kermany(), CollectionOptions(layout=layout))


def test_forcing_takes_the_folders_beside_a_manifest(kermany: Callable[..., Path]) -> None:
    folder = kermany()
    (folder / "manifest.csv").write_text("path,label\nNORMAL/IM-0001-0001.png,0\n")
    with pytest.raises(DataError, match="1 NORMAL, 0 PNEUMONIA"):
        open_collection(folder)
    assert len(open_collection(folder, CollectionOptions(layout=Layout.FOLDERS)).items) == 48


# -- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "has no layout that is known"),
        (["notes.txt"], "has no layout that is known"),
        (["a.png", "b.png"], "has no layout that is known"),
        (["NORMAL/notes.txt", "PNEUMONIA/notes.txt"], "has no layout that is known"),
        (["NORMAL/1.png", "NORMAL/2.png"], "2 NORMAL, 0 PNEUMONIA: two classes"),
        (["PNEUMONIA/1.png", "PNEUMONIA/2.png"], "0 NORMAL, 2 PNEUMONIA: two classes"),
        (["NORMAL/1.png", "PNEUMONIA/2.png", "PNEUMONIA/3.png"], "at least 2 images each"),
        (["train/NORMAL/1.png", "train/NORMAL/2.png"], "2 NORMAL, 0 PNEUMONIA"),
        (["a.png", "lesion_masks/b.png"], "has no layout that is known"),
    ],
)
def test_too_little_is_one_sentence(
    tmp_path: Path, paint: Paint, files: list[str], sentence: str
) -> None:
    for name in files:
        if name.endswith(".png"):
            paint(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("notes")
    with pytest.raises(DataError, match=sentence) as caught:
        open_collection(tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_does_not_exist_names_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none does not exist: name a folder, .* data fetch"):
        open_collection(tmp_path / "none")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(DataError, match="is not a manifest"):
        open_collection(tmp_path / "notes.txt")
    (tmp_path / "table.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="is not in the layout 'npz'"):
        open_collection(tmp_path / "table.csv", CollectionOptions(layout=Layout.NPZ))


# -- odd folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["with spaces", "Röntgen 肺炎 ñ", "a#b", "100%", "[x]*?", "-rf"])
def test_folders_and_files_of_any_name(tmp_path: Path, paint: Paint, name: str) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        for i in range(5):
            paint(tmp_path / name / label / f"{name} {i}.png")
    found = open_collection(tmp_path / name)
    frame = build_manifest(found).frame
    assert frame.height == 10
    result = reorganize(tmp_path / name, tmp_path / f"out {name}", ratios=(60, 20, 20))
    assert not result.excluded
    assert len(open_collection(tmp_path / f"out {name}").items) == 10


def test_what_is_no_image_is_listed_and_litter_is_passed_over(
    kermany: Callable[..., Path],
) -> None:
    folder = kermany(2)
    (folder / "NORMAL" / "Thumbs.db").write_bytes(b"x")
    (folder / "NORMAL" / ".DS_Store").write_bytes(b"x")
    (folder / "NORMAL" / "._IM-0001-0001.png").write_bytes(b"x")
    (folder / "PNEUMONIA" / "__MACOSX").mkdir()
    (folder / "PNEUMONIA" / "__MACOSX" / "a.png").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    found = open_collection(folder)
    assert len(found.items) == 16
    assert [(Path(s.path).name, s.reason) for s in found.skipped] == [
        ("Thumbs.db", "not an image by its name")
    ]


def test_images_lie_at_any_depth_below_their_class(tmp_path: Path, paint: Paint) -> None:
    _fill(paint, tmp_path / "NORMAL" / "2019" / "June", 2)
    _fill(paint, tmp_path / "PNEUMONIA" / "bacteria", 1)
    _fill(paint, tmp_path / "PNEUMONIA" / "virus", 1)
    assert _count(open_collection(tmp_path)) == {"NORMAL": 2, "PNEUMONIA": 2}


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path, paint: Paint) -> None:
    _fill(paint, tmp_path / "elsewhere" / "sick", 3)
    _fill(paint, tmp_path / "elsewhere" / "more", 2)
    folder = tmp_path / "set"
    _fill(paint, folder / "NORMAL", 2)
    (folder / "PNEUMONIA").symlink_to(tmp_path / "elsewhere" / "sick")
    (folder / "NORMAL" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (folder / "NORMAL" / "circle").symlink_to(folder / "NORMAL")
    (folder / "NORMAL" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = open_collection(folder)
    assert _count(found) == {"NORMAL": 5, "PNEUMONIA": 3}
    manifest = build_manifest(found)
    assert manifest.frame.height == 7
    assert [Path(s.path).name for s in manifest.excluded] == ["gone.png"]


def test_circles_without_an_image_come_to_an_end(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "up").symlink_to(tmp_path)
        (tmp_path / name / "self").symlink_to(tmp_path / name)
    with pytest.raises(DataError, match="no layout that is known"):
        open_collection(tmp_path)


def test_unreadable_images_are_listed_and_the_rest_goes_on(
    kermany: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kermany(6)
    (folder / "NORMAL" / "empty.png").touch()
    (folder / "NORMAL" / "text.jpeg").write_text("no image")
    whole = (folder / "NORMAL" / "IM-0001-0001.png").read_bytes()
    (folder / "NORMAL" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "PNEUMONIA" / "folder.png").mkdir()
    (folder / "PNEUMONIA" / "locked.png").write_bytes(whole)
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:  # the superuser could read a file without permission
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    manifest = build_manifest(open_collection(folder))
    assert manifest.frame.height == 48
    assert {Path(s.path).name for s in manifest.excluded} == {
        "empty.png",
        "text.jpeg",
        "cut.png",
        "locked.png",
    }
    assert all(s.path in s.reason for s in manifest.excluded)


def test_a_folder_without_permission_is_one_sentence(
    kermany: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kermany(2)
    iterdir = Path.iterdir

    def refuse(path: Path) -> object:
        if path.name == "PNEUMONIA":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="PNEUMONIA cannot be read: Permission denied"):
        open_collection(folder)


def test_nothing_readable_is_one_sentence(tmp_path: Path) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        for i in range(2):
            (tmp_path / label / f"{i}.png").touch()
    with pytest.raises(DataError, match=r"None of the 4 images is readable; the first: .* empty"):
        build_manifest(open_collection(tmp_path))


# -- images without labels -----------------------------------------------------------------------


@pytest.mark.parametrize("folders", [["NORMAL"], ["a", "b", "c"], [""], ["", "deep"]])
def test_where_no_label_is_looked_at_any_folders_will_do(
    tmp_path: Path, paint: Paint, folders: list[str]
) -> None:
    for folder in folders:
        _fill(paint, tmp_path / "data" / folder)
    _fill(paint, tmp_path / "data" / "masks")
    found = open_collection(tmp_path / "data", labelled=False)
    assert found.layout is Layout.FOLDERS
    assert len(found.items) == 2 * len(folders)
    assert {item.label for item in found.items} == {None}
    assert f"{len(found.items)} images, labels unseen" in found.notes[0]
    assert build_manifest(found).frame["label"].null_count() == len(found.items)
    with pytest.raises(DataError):
        open_collection(tmp_path / "data")


@pytest.mark.parametrize("folder", ["", "NORMAL"])
def test_splits_of_images_without_labels_are_kept(
    tmp_path: Path, paint: Paint, folder: str
) -> None:
    for split in ("train", "test"):
        _fill(paint, tmp_path / "data" / split / folder)
    found = open_collection(tmp_path / "data", labelled=False)
    assert found.layout is Layout.KAGGLE
    assert [item.split for item in found.items] == ["train", "train", "test", "test"]


def test_a_table_beside_its_images_goes_before_them(tmp_path: Path, paint: Paint) -> None:
    for i in range(4):
        paint(tmp_path / "data" / f"{i}.png")
    (tmp_path / "data" / "list.csv").write_text("path,split\n0.png,train\n1.png,test\n")
    found = open_collection(tmp_path / "data", labelled=False)
    assert found.layout is Layout.MANIFEST
    assert [item.split for item in found.items] == ["train", "test"]


def test_rows_with_any_label_or_none_are_images(tmp_path: Path, paint: Paint) -> None:
    for i in range(3):
        paint(tmp_path / f"{i}.png")
    table = tmp_path / "list.csv"
    table.write_text("path,label\n0.png,edema\n1.png,\n2.png,NORMAL\n2.png,PNEUMONIA\n")
    found = open_collection(table, labelled=False)
    assert len(found.items) == 3
    assert not found.skipped


# -- splits that layouts bring -------------------------------------------------------------------


def test_kaggles_test_part_is_kept_and_validation_split_off(tmp_path: Path, paint: Paint) -> None:
    numbers = {"train": range(1, 30), "val": range(30, 32), "test": range(40, 50)}
    for split, wanted in numbers.items():
        for number in wanted:
            paint(tmp_path / split / "NORMAL" / f"IM-{number:04d}-0001.png")
            paint(tmp_path / split / "PNEUMONIA" / f"person{number}_virus_1.png")
    found = open_collection(tmp_path)
    before = build_manifest(found).frame
    result = resolve_splits(before, found.layout)
    after = dict(zip(result.frame["path"], result.frame["split"], strict=True))
    for path, split in zip(before["path"], before["split"], strict=True):
        assert (after[path] == "test") == (split == "test")
    counts = Counter(after.values())
    assert counts["test"] == 20
    assert 4 <= counts["val"] <= 10  # of 62, and not the 4 images that Kaggle has
    assert any("test part that the data brings is kept" in note for note in result.notes)


def test_without_a_test_part_all_is_pooled_and_said(tmp_path: Path, kermany: Callable) -> None:
    kermany(8, tmp_path / "train")
    kermany(1, tmp_path / "val")
    for path in (tmp_path / "val").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("0001-", "0091-").replace("n1_", "n91_")))
    found = open_collection(tmp_path)
    result = resolve_splits(build_manifest(found).frame, found.layout)
    assert set(result.frame["split"]) == {"train", "val", "test"}
    assert any("pooled and split anew" in note for note in result.notes)
    assert any("Split 80/10/10 by patient with seed 0" in note for note in result.notes)


def test_relatives_of_the_official_test_part_are_left_out_of_training(
    tmp_path: Path, kermany: Callable
) -> None:
    kermany(12, tmp_path / "train")
    kermany(2, tmp_path / "test")
    found = open_collection(tmp_path)
    frame = build_manifest(found).frame
    result = resolve_splits(frame, found.layout)
    test = result.frame.filter(pl.col("split") == "test")
    rest = result.frame.filter(pl.col("split") != "test")
    assert not set(test["group"]) & set(rest["group"])
    assert not set(test["patient"]) & set(rest["patient"])
    left_out = frame.height - result.frame.height
    assert 0 < left_out < frame.height - test.height
    assert any(note.startswith(f"{left_out} images outside the test part") for note in result.notes)


def _make_frame(**columns: list[str | None]) -> pl.DataFrame:
    """Return a manifest of 30 images of each class with a complete split of its own."""
    n = 60
    split = [("train", "val", "test")[i % 3] for i in range(n)]
    base = {
        "path": [f"{i}.png" for i in range(n)],
        "sha256": [f"{i:064x}" for i in range(n)],
        "label": [("NORMAL", "PNEUMONIA")[i // 3 % 2] for i in range(n)],
        "patient": [None] * n,
        "group": [f"g{i}" for i in range(n)],
        "split": split,
    }
    return pl.DataFrame(base | columns, schema_overrides={"patient": pl.String})


@pytest.mark.parametrize("layout", [Layout.FOLDERS, Layout.MANIFEST, Layout.REORGANIZED])
def test_a_given_split_without_a_test_part_is_not_drawn_anew(layout: Layout) -> None:
    split = [("train", "val")[i % 3 == 0] for i in range(60)]
    result = resolve_splits(_make_frame(split=split), layout)
    assert result.frame["split"].to_list() == split
    assert any("no test part" in note for note in result.notes)


def test_a_handful_of_images_is_one_sentence(kermany: Callable[..., Path]) -> None:
    found = open_collection(kermany(2))
    with pytest.raises(DataError, match="There are 8 readable NORMAL images: at least 10"):
        resolve_splits(build_manifest(found).frame, found.layout)


def test_an_empty_split_is_one_sentence(tmp_path: Path, kermany: Callable, paint: Paint) -> None:
    kermany(8, tmp_path / "train")
    _fill(paint, tmp_path / "test" / "NORMAL")
    found = open_collection(tmp_path)
    with pytest.raises(DataError, match="split test has no PNEUMONIA image"):
        resolve_splits(build_manifest(found).frame, found.layout)


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are POSIX")
def test_a_name_that_is_no_text_is_left_out_and_said(paint, tmp_path):
    _fill(paint, tmp_path / "data" / "NORMAL", 3)
    _fill(paint, tmp_path / "data" / "PNEUMONIA")
    file = next((tmp_path / "data" / "NORMAL").iterdir())
    file.rename(os.fsdecode(os.fsencode(file.parent) + b"/latin\xe9.png"))
    collection = open_collection(tmp_path / "data")
    (left_out,) = [entry for entry in collection.skipped if entry.is_image]
    assert "the name is not UTF-8" in left_out.reason
    left_out.reason.encode()
    assert len(collection.items) == 4


def test_a_link_to_what_lies_above_is_not_followed(paint, tmp_path):
    _fill(paint, tmp_path / "data" / "NORMAL")
    _fill(paint, tmp_path / "data" / "PNEUMONIA")
    (tmp_path / "data" / "NORMAL" / "loop").symlink_to("..")
    assert len(open_collection(tmp_path / "data").items) == 4


def test_a_table_with_semicolons_is_known_for_one(tmp_path):
    (tmp_path / "list.csv").write_text("path;label\na.png;NORMAL\n")
    with pytest.raises(DataError, match="separated by semicolons or tabs: save it with commas"):
        open_collection(tmp_path / "list.csv")
