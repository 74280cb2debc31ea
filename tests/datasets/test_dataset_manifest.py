"""The manifest says what each image is; copies of an image are found, relatives are not copies."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pneumoscope._files import hash_file
from pneumoscope.datasets import (
    MANIFEST_SCHEMA,
    LinkMode,
    build_manifest,
    manifest,
    open_collection,
    read_manifest,
    reorganize,
    write_manifest,
)
from pneumoscope.datasets.duplicates import (
    Fingerprint,
    find_near_duplicates,
    fingerprint,
)
from pneumoscope.datasets.naming import parse_name
from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.errors import DataError
from pneumoscope.images import Radiograph, read

Paint = Callable[..., Path]

COLUMNS = (
    *("path", "sha256", "phash", "label", "subtype", "patient", "block", "group", "copies"),
    *("width", "height", "split", "fold", "source"),
)


@pytest.mark.parametrize(
    ("name", "series", "number", "subtype"),
    [
        ("person1_bacteria_2.jpeg", "bacteria", 1, "bacteria"),
        ("person1023_virus_1714.jpeg", "virus", 1023, "virus"),
        ("person447_virus_921_1.jpeg", "virus", 447, "virus"),
        ("/a/b/IM-0115-0001.jpeg", "IM", 115, "none"),
        ("IM-0551-0001-0002.jpeg", "IM", 551, "none"),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM", 1427, "none"),
        ("C:\\set\\PERSON7_VIRUS_3.JPG", "virus", 7, "virus"),
        ("normal2-im-0007-0001.png", "NORMAL2-IM", 7, "none"),
        ("BACTERIA-7422-0001.jpeg", "BACTERIA", 7422, "bacteria"),
        ("NORMAL-1049278-0002.jpeg", "NORMAL", 1049278, "none"),
    ],
)
def test_file_names_of_the_collection_tell_the_patient(
    name: str, series: str, number: int, subtype: str
) -> None:
    parts = parse_name(name)
    assert parts is not None
    assert (parts.series, parts.number, parts.subtype) == (series, number, subtype)
    assert parts.patient == f"{series}-{number}"


@pytest.mark.parametrize(
    "name", ["", "a.png", "person_virus_1.jpeg", "xIM-1-1.png", "IM-1.png", "person1_fungus_1.png"]
)
def test_other_file_names_tell_nothing(name: str) -> None:
    assert parse_name(name) is None


def test_a_manifest_has_a_row_an_image_and_all_columns(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "NORMAL" / "IM-0115-0001.png", side=40)
    paint(tmp_path / "NORMAL" / "other.png")
    paint(tmp_path / "PNEUMONIA" / "person1_virus_6.png")
    paint(tmp_path / "PNEUMONIA" / "person2_bacteria_1.png")
    frame = build_manifest(open_collection(tmp_path)).frame
    assert tuple(frame.columns) == COLUMNS
    assert dict(frame.schema) == MANIFEST_SCHEMA
    first = frame.row(0, named=True)
    assert first["path"] == str(tmp_path / "NORMAL" / "IM-0115-0001.png")
    assert first["sha256"] == hash_file(Path(first["path"]))
    assert len(first["phash"]) == 64
    assert (first["width"], first["height"]) == (40, 40)
    assert (first["label"], first["subtype"], first["patient"]) == ("NORMAL", "none", "IM-115")
    assert first["block"] == "IM/05"
    assert first["split"] is None
    assert first["source"] == tmp_path.name
    assert frame["subtype"].to_list() == ["none", "none", "virus", "bacteria"]
    assert frame["patient"].to_list() == ["IM-115", None, "virus-1", "bacteria-2"]
    assert frame["block"].null_count() == 1
    assert frame["group"].n_unique() == 4


def test_a_manifest_does_not_depend_on_the_number_of_jobs(kermany: Callable[..., Path]) -> None:
    found = open_collection(kermany())
    calls: list[tuple[int, int]] = []
    one = build_manifest(found, jobs=1, progress=lambda *call: calls.append(call)).frame
    assert one.equals(build_manifest(found, jobs=5).frame)
    assert calls == [(n, 48) for n in range(1, 49)]


def test_paths_survive_a_move_of_the_folder(kermany: Callable[..., Path], tmp_path: Path) -> None:
    reorganize(kermany(), tmp_path / "split", link=LinkMode.COPY)
    before = read_manifest(tmp_path / "split" / "manifest.parquet")
    stored = pl.read_parquet(tmp_path / "split" / "manifest.parquet")["path"]
    assert not any(Path(path).is_absolute() for path in stored)
    shutil.rmtree(tmp_path / "collection")
    (tmp_path / "split").rename(tmp_path / "moved to another place")
    after = read_manifest(tmp_path / "moved to another place" / "manifest.parquet")
    assert all(Path(path).is_file() for path in after["path"])
    assert after.drop("path").equals(before.drop("path"))
    again = build_manifest(open_collection(tmp_path / "moved to another place")).frame
    assert again.drop("source", "group").equals(after.drop("source", "group"))


def test_paths_outside_stay_absolute(tmp_path: Path, kermany: Callable[..., Path]) -> None:
    frame = build_manifest(open_collection(kermany())).frame
    write_manifest(frame, tmp_path / "runs" / "manifest.parquet")
    assert read_manifest(tmp_path / "runs" / "manifest.parquet").equals(frame)


def test_a_manifest_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a readable manifest"):
        read_manifest(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is not a readable manifest"):
        read_manifest(tmp_path / "bad.parquet")
    pl.DataFrame({"path": ["a"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="it lacks sha256, phash, label"):
        read_manifest(tmp_path / "other.parquet")


# -- near-duplicates -----------------------------------------------------------------------------


def _encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> Fingerprint:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return fingerprint(read(stream.getvalue()))


def _resize(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def _crop(pixels: np.ndarray, share: float) -> np.ndarray:
    edge = round(share * len(pixels))
    return pixels[edge:-edge, edge:-edge]


@pytest.mark.parametrize("disease", [None, *Disease])
@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(lambda p: _encode(p), id="the same"),
        pytest.param(lambda p: _encode(p, "JPEG", quality=40), id="re-encoded"),
        pytest.param(lambda p: _encode(p, "WEBP", quality=40), id="another format"),
        pytest.param(lambda p: _encode(_resize(p, 150)), id="smaller"),
        pytest.param(lambda p: _encode(_resize(p, 400)), id="larger"),
        pytest.param(lambda p: _encode(_crop(p, 0.01)), id="cropped by 1 %"),
        pytest.param(lambda p: _encode(_crop(p, 0.02), "JPEG", quality=70), id="cropped by 2 %"),
        pytest.param(lambda p: _encode((p * 0.9 + 10).astype(np.uint8)), id="less contrast"),
    ],
)
def test_copies_of_an_image_are_found(disease: Disease | None, copy: Callable) -> None:
    pixels = draw_phantom(np.random.default_rng(5), disease).pixels
    assert find_near_duplicates([_encode(pixels), copy(pixels)]) == [(0, 1)]


def test_different_phantoms_are_no_copies(phantoms: Path) -> None:
    prints = [fingerprint(read(path)) for path in sorted(phantoms.glob("*/*.jpeg"))]
    assert len(prints) == 60
    assert find_near_duplicates(prints) == []  # nor are two images of a patient


def test_flat_images_are_copies_of_their_equals_only() -> None:
    prints = [_encode(np.full((32, 32), value, np.uint8)) for value in (0, 0, 200)]
    assert find_near_duplicates(prints) == [(0, 1)]
    assert find_near_duplicates(prints[:1]) == []


def test_copies_share_a_group_and_are_said(tmp_path: Path, phantoms: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(phantoms, folder)
    normal = sorted((folder / "NORMAL").iterdir())
    pneumonia = sorted((folder / "PNEUMONIA").iterdir())
    Image.open(normal[0]).save(folder / "NORMAL" / "copy.png")
    Image.open(pneumonia[5]).save(folder / "NORMAL" / "wrong.png")
    manifest = build_manifest(open_collection(folder))
    groups = dict(zip(manifest.frame["path"], manifest.frame["group"], strict=True))
    assert groups[str(folder / "NORMAL" / "copy.png")] == groups[str(normal[0])]
    assert groups[str(folder / "NORMAL" / "wrong.png")] == groups[str(pneumonia[5])]
    assert len(set(groups.values())) == 30  # two images of each patient
    assert "Pairs of identical or near-identical images: 2." in manifest.notes
    assert any("Of these, 1 carry different labels, such as" in note for note in manifest.notes)


def test_groups_join_through_patients_and_copies(tmp_path: Path, paint: Paint) -> None:
    """A patient's image copied under another patient's name makes the two one group."""
    for label in ("NORMAL", "PNEUMONIA"):
        for i in range(1, 4):
            name = f"IM-{i}-1.png" if label == "NORMAL" else f"person{i}_virus_1.png"
            paint(tmp_path / label / name)
    shutil.copy(tmp_path / "NORMAL" / "IM-1-1.png", tmp_path / "NORMAL" / "IM-2-2.png")
    frame = build_manifest(open_collection(tmp_path)).frame
    normal = frame.filter(pl.col("label") == "NORMAL")
    groups = dict(zip((Path(p).name for p in normal["path"]), normal["group"], strict=True))
    assert groups["IM-1-1.png"] == groups["IM-2-2.png"] == groups["IM-2-1.png"]
    assert frame["group"].n_unique() == 5


def test_equal_names_in_different_folders_are_no_group(tmp_path: Path, paint: Paint) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        for study in "abcdef":
            paint(tmp_path / label / study / "0001.png")
    assert build_manifest(open_collection(tmp_path)).frame["group"].n_unique() == 12


def test_random_patient_numbers_make_no_blocks(tmp_path: Path, paint: Paint) -> None:
    for label, name in (("NORMAL", "NORMAL"), ("PNEUMONIA", "VIRUS")):
        for number in range(3):
            paint(tmp_path / label / f"{name}-{number + 10}-0001.jpeg")
    frame = build_manifest(open_collection(tmp_path)).frame
    assert frame["patient"].n_unique() == 6
    assert frame["block"].null_count() == 6


def test_some_unknown_patients_are_said(tmp_path: Path, paint: Paint) -> None:
    for name in ("person1_virus_1", "person2_virus_2", "stranger"):
        paint(tmp_path / "PNEUMONIA" / f"{name}.jpeg")
    for name in ("IM-0001-0001", "IM-0002-0001"):
        paint(tmp_path / "NORMAL" / f"{name}.jpeg")
    notes = build_manifest(open_collection(tmp_path)).notes
    assert "1 of 5 images name no patient: images of one patient may straddle splits." in notes


def test_dicom_tells_the_patient_without_writing_the_number_down(
    tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        for i in range(4):
            paint(tmp_path / label / f"{i}.png")

    def read_with_number(ref: str) -> Radiograph:
        path = Path(ref)
        number = f"{path.parent.name}{int(path.stem) // 2}"
        return dataclasses.replace(read(path), patient_id=number)

    monkeypatch.setattr(manifest, "read_radiograph", read_with_number)
    frame = build_manifest(open_collection(tmp_path)).frame
    assert frame["patient"].n_unique() == 4
    assert frame.group_by("patient").len()["len"].to_list() == [2] * 4
    assert not frame["patient"].str.contains("NORMAL|PNEUMONIA").any()
