"""MedMNIST's arrays are a collection like any other; damaged and hostile ones are refused."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope._files import hash_file
from pneumoscope.datasets import (
    CollectionOptions,
    Layout,
    build_manifest,
    open_collection,
    read_manifest,
    read_radiograph,
    reorganize,
    resolve_splits,
)
from pneumoscope.errors import DataError, ImageError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Return a function that writes a MedMNIST file; keywords replace or remove an array."""

    def make(
        side: int = 28, n: int = 12, name: str = "pneumoniamnist.npz", **changes: object
    ) -> Path:
        arrays: dict[str, np.ndarray] = {}
        for split in ("train", "val", "test"):
            arrays[f"{split}_images"] = rng.integers(0, 256, (n, side, side), np.uint8)
            arrays[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 2)[:, None]
        arrays |= changes
        np.savez(tmp_path / name, **{k: v for k, v in arrays.items() if v is not None})
        return tmp_path / name

    return make


@pytest.mark.parametrize("side", [28, 64, 224])
def test_images_of_any_size(write: Write, side: int) -> None:
    path = write(side)
    found = open_collection(path)
    assert found.layout is Layout.NPZ
    said = " ".join(found.notes)
    assert f"images of {side}×{side} pixels" in said
    assert "18 NORMAL, 18 PNEUMONIA" in said
    assert "Patients are unknown" in " ".join(build_manifest(found).notes)
    assert found.items[17].ref == f"{path}#val/5"
    row = read_radiograph(f"{path}#val/5")
    assert np.array_equal(row.pixels, np.load(path)["val_images"][5])
    assert row.original_size == (side, side)


def test_the_splits_that_the_arrays_bring_are_kept(write: Write) -> None:
    found = open_collection(write())
    frame = build_manifest(found).frame
    assert frame["group"].n_unique() == 36  # `train/5` and `val/5` are no relatives
    assert resolve_splits(frame, found.layout).frame["split"].to_list() == [
        *["train"] * 12,
        *["val"] * 12,
        *["test"] * 12,
    ]


def test_an_array_file_is_reorganised_into_images(write: Write, tmp_path: Path) -> None:
    path = write()
    result = reorganize(path, tmp_path / "out")
    assert sum(n for counts in result.counts.values() for n in counts.values()) == 36
    assert any("36 files were copied" in note for note in result.notes)
    again = build_manifest(open_collection(tmp_path / "out")).frame
    assert again.height == 36
    arrays = np.load(path)
    name = Path(again["path"][0]).stem  # pneumoniamnist-val-5
    split, row = name.split("-")[1:3]
    stored = read_radiograph(again["path"][0]).pixels
    assert np.array_equal(stored, arrays[f"{split}_images"][int(row)])
    assert not reorganize(path, tmp_path / "out").changed


def test_colour_arrays_are_taken_as_grey(write: Write, rng: np.random.Generator) -> None:
    path = write(train_images=rng.integers(0, 256, (12, 28, 28, 3), np.uint8))
    assert read_radiograph(f"{path}#train/0").channel_spread > 10


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_labels_of_any_type(write: Write, kind: type, shape: tuple[int, ...]) -> None:
    labels = (np.arange(12) % 2).astype(kind).reshape(shape)
    changes = {f"{split}_labels": labels for split in ("train", "val", "test")}
    found = open_collection(write(**changes))
    assert [item.label for item in found.items[:2]] == ["NORMAL", "PNEUMONIA"]


def test_another_value_may_be_the_positive_one(write: Write) -> None:
    path = write()
    found = open_collection(path, CollectionOptions(positive="0"))
    assert [item.label for item in found.items[:2]] == ["PNEUMONIA", "NORMAL"]
    with pytest.raises(DataError, match="There is no class '5': found 0, 1"):
        open_collection(path, CollectionOptions(positive="5"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_labels": np.arange(12) % 3}, "The classes are 0, 1, 2"),
        ({"train_labels": np.arange(12) % 2 + 1}, "The classes are 0, 1, 2"),
        ({"train_labels": np.zeros((12, 2))}, "train_labels of shape"),
        ({"train_labels": np.zeros(11)}, "one label an image is needed"),
        ({"train_labels": np.zeros(())}, "one label an image is needed"),
        ({"train_images": np.zeros((12, 28), np.uint8)}, "one label an image is needed"),
        ({"train_images": np.zeros((), np.uint8)}, "one label an image is needed"),
        (
            dict.fromkeys(("train_images", "val_images", "test_images")),
            "no train_images and train_labels, as MedMNIST",
        ),
        (
            {f"{s}_labels": np.zeros(12, int) for s in ("train", "val", "test")},
            "36 NORMAL, 0 PNEUMONIA: two classes",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_one_sentence(
    write: Write, changes: dict[str, np.ndarray], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        open_collection(write(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [None, np.zeros((12, 14), np.uint8), np.arange(12)])
def test_where_no_label_is_looked_at_any_arrays_of_labels_will_do(
    write: Write, labels: np.ndarray | None
) -> None:
    path = write(**dict.fromkeys(("train_labels", "val_labels", "test_labels"), labels))
    found = open_collection(path, labelled=False)
    assert len(found.items) == 36
    assert {item.label for item in found.items} == {None}
    assert [item.split for item in found.items[::12]] == ["train", "val", "test"]


def test_an_empty_part_is_as_one_that_is_not_there(write: Write) -> None:
    none = np.zeros((0, 28, 28), np.uint8)
    found = open_collection(write(test_images=none, test_labels=np.zeros((0, 1), np.uint8)))
    assert {item.split for item in found.items} == {"train", "val"}
    assert len(found.items) == 24
    assert open_collection(write(test_images=None)).items[-1].split == "val"


def test_pixels_of_another_type_are_left_out_and_listed(write: Write) -> None:
    path = write(train_images=np.zeros((12, 28, 28), np.float32))
    manifest = build_manifest(open_collection(path))
    assert manifest.frame.height == 24
    assert len(manifest.excluded) == 12
    assert "must be a uint8 or uint16 array, found float32" in manifest.excluded[0].reason


@pytest.mark.parametrize("row", ["train/12", "train/-1", "train/x", "other/0", "train", ""])
def test_a_row_that_is_not_there_is_an_image_error(write: Write, row: str) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_radiograph(f"{write()}#{row}")


def test_a_file_that_changed_is_read_anew(write: Write, rng: np.random.Generator) -> None:
    path = write()
    before = read_radiograph(f"{path}#train/0").pixels
    write()
    assert not np.array_equal(before, read_radiograph(f"{path}#train/0").pixels)


class _Evil:
    """What a pickle can do: call anything when it is loaded."""

    ran = False

    def __reduce__(self) -> tuple[object, ...]:
        return _spring, ()


def _spring() -> None:
    _Evil.ran = True


@pytest.mark.parametrize("how", ["object array", "raw pickle", "plain npy", "pickle in a zip"])
def test_a_pickle_is_never_opened(tmp_path: Path, write: Write, how: str) -> None:
    path = tmp_path / "evil.npz"
    if how == "object array":
        evil = np.array([_Evil()] * 12, dtype=object)
        path = write(name="evil.npz", train_labels=evil)
    elif how == "raw pickle":
        path.write_bytes(pickle.dumps(_Evil()))
    elif how == "plain npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("train_labels.npy", pickle.dumps(_Evil()))
            file.writestr("train_images.npy", pickle.dumps(_Evil()))
    with pytest.raises(DataError):
        open_collection(path)
    assert not _Evil.ran


def test_a_header_that_promises_the_moon_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**6)}
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(tmp_path / "moon.npz", "w") as file:
        for name in ("train_labels", "train_images"):
            file.writestr(f"{name}.npy", stream.getvalue())
    with pytest.raises(DataError, match="not a readable"):
        open_collection(tmp_path / "moon.npz")


@pytest.mark.parametrize("wrapper", ["", "set/"])
def test_an_archive_of_an_array_file_is_a_collection(
    tmp_path: Path, write: Write, wrapper: str
) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        file.write(write(), f"{wrapper}pneumoniamnist.npz")
    assert len(open_collection(tmp_path / "set.zip").items) == 36


@pytest.fixture(scope="session")
def array_bytes() -> tuple[bytes, bytes]:
    """A small array file, stored and compressed."""
    images = np.arange(4 * 36, dtype=np.uint8).reshape(4, 6, 6)
    arrays = {"train_images": images, "train_labels": np.array([0, 1, 0, 1])}
    streams = io.BytesIO(), io.BytesIO()
    np.savez(streams[0], **arrays)
    np.savez_compressed(streams[1], **arrays)
    return streams[0].getvalue(), streams[1].getvalue()


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=4),
    compressed=st.booleans(),
)
def test_a_mutated_array_file_is_read_or_refused(
    array_bytes: tuple[bytes, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    edits: list[tuple[int, int]],
    compressed: bool,
) -> None:
    data = bytearray(array_bytes[compressed])
    for position, value in edits:
        data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        build_manifest(open_collection(path), jobs=1)


def test_arrays_that_grow_too_much_are_a_bomb(tmp_path: Path) -> None:
    zeros = np.zeros((40, 400, 400), np.uint8)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, train_images=zeros, train_labels=np.arange(40) % 2)
    with pytest.raises(DataError, match="is a bomb"):
        open_collection(path)


@pytest.mark.parametrize("row", ["²", "-1", "1e3", "9" * 30, ""])
def test_a_row_that_is_no_number_does_not_exist(write: Write, row: str) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_radiograph(f"{write()}#train/{row}")


def test_rows_become_files_whose_hash_is_written_down(write: Write, tmp_path: Path) -> None:
    reorganize(write(n=40), tmp_path / "out")
    frame = read_manifest(tmp_path / "out" / "manifest.parquet")
    assert frame.height == 120
    for path, sha256 in frame.select("path", "sha256").iter_rows():
        assert hash_file(Path(path)) == sha256
