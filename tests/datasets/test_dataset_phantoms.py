"""Phantoms are drawn the same every time, and always say that they are synthetic."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pneumoscope.cli import app
from pneumoscope.datasets import build_manifest, open_collection, reorganize, resolve_splits
from pneumoscope.datasets.phantom import Disease, draw_phantom, write_phantoms
from pneumoscope.errors import DataError

SAID = "These are synthetic phantoms: for demonstrations and tests only."


def _list(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_seed_draws_the_same_files_every_time(phantoms: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "again", 60, seed=3, size=64)
    assert _list(tmp_path / "again") == _list(phantoms)


def test_a_phantom_is_the_same_whatever_their_number(phantoms: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "few", 13, seed=3, size=64)
    few, many = _list(tmp_path / "few"), _list(phantoms)
    del few["phantom.json"]
    assert len(few) == 13 + 6
    assert few.items() <= many.items()


def test_another_seed_draws_other_phantoms(phantoms: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "other", 10, seed=4, size=64)
    assert not set(_list(tmp_path / "other").values()) & set(_list(phantoms).values())


def test_half_of_them_have_pneumonia_and_every_patient_two_images(phantoms: Path) -> None:
    found = open_collection(phantoms)
    assert len(found.items) == 60
    labels = [item.label for item in found.items]
    assert labels.count("NORMAL") == labels.count("PNEUMONIA") == 30
    patients = [item.patient for item in found.items]
    assert {patients.count(patient) for patient in patients} == {2}
    subtypes = {item.subtype for item in found.items if item.label == "PNEUMONIA"}
    assert subtypes == {"bacteria", "virus"}


def test_masks_lie_beside_and_are_never_a_class(phantoms: Path) -> None:
    masks = {path.stem: path for path in (phantoms / "lesion_masks").iterdir()}
    assert set(masks) == {path.stem for path in (phantoms / "PNEUMONIA").iterdir()}
    for mask in masks.values():
        pixels = np.asarray(Image.open(mask))
        assert pixels.shape == (64, 64)
        assert set(np.unique(pixels)) == {0, 255}
    found = open_collection(phantoms)
    assert not any("lesion_masks" in item.ref for item in found.items)
    assert not any("lesion_masks" in entry.path for entry in found.skipped)


@pytest.mark.parametrize("disease", [None, *Disease])
@pytest.mark.parametrize("size", [64, 224])
def test_a_lesion_brightens_where_its_mask_is(disease: Disease | None, size: int) -> None:
    with_it = draw_phantom(np.random.default_rng(8), disease, size=size)
    assert with_it.pixels.shape == with_it.lesion.shape == (size, size)
    assert with_it.pixels.dtype == np.uint8
    assert with_it.pixels.std() > 20
    assert with_it.disease is disease
    if disease is None:
        assert not with_it.lesion.any()
    else:
        assert 0.005 < with_it.lesion.mean() < 0.5


def test_the_marker_says_synthetic(phantoms: Path) -> None:
    marker = json.loads((phantoms / "phantom.json").read_text())
    assert "synthetic" in marker["note"]
    assert (marker["seed"], marker["n"], marker["size"]) == (3, 60, 64)


def test_every_collection_of_phantoms_says_so(phantoms: Path, tmp_path: Path) -> None:
    found = open_collection(phantoms)
    assert SAID in found.notes
    assert set(build_manifest(found).frame["source"]) == {"phantom"}
    shutil.copytree(phantoms, tmp_path / "around" / "set")
    assert SAID in open_collection(tmp_path / "around").notes
    reorganize(phantoms, tmp_path / "split")
    assert SAID in open_collection(tmp_path / "split").notes
    assert SAID in open_collection(tmp_path / "split" / "train").notes
    again = reorganize(tmp_path / "split", tmp_path / "split again", seed=9)
    assert SAID in again.notes
    (tmp_path / "split again" / "manifest.parquet").unlink()  # as another tool may leave it
    assert SAID in open_collection(tmp_path / "split again").notes
    rows = [f"{item.ref},{item.label}" for item in found.items]
    (tmp_path / "table.csv").write_text("path,label\n" + "\n".join(rows))
    assert SAID in open_collection(tmp_path / "table.csv").notes


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege elsewhere")
@pytest.mark.parametrize("linked", ["classes", "parts", "files"])
def test_phantoms_behind_links_say_so(phantoms: Path, tmp_path: Path, linked: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for label in ("NORMAL", "PNEUMONIA"):
        if linked == "classes":
            (data / label).symlink_to(phantoms / label)
            continue
        (data / label).mkdir()
        if linked == "parts":  # one folder of a class that has others beside
            (data / label / "drawn").symlink_to(phantoms / label)
            continue
        for file in (phantoms / label).iterdir():
            (data / label / file.name).symlink_to(file)
    found = open_collection(data)
    assert SAID in found.notes
    assert {item.source for item in found.items} == {"phantom"}
    rows = [f"{item.ref},{item.label}" for item in found.items]
    (tmp_path / "table.csv").write_text("path,label\n" + "\n".join(rows))
    assert SAID in open_collection(tmp_path / "table.csv").notes


def test_phantoms_can_be_split_without_tearing_patients(phantoms: Path) -> None:
    found = open_collection(phantoms)
    result = resolve_splits(build_manifest(found).frame, found.layout)
    assert set(result.frame["split"]) == {"train", "val", "test"}


def test_twice_changes_nothing_and_anything_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    assert write_phantoms(folder, 10, size=64).changed
    before = _list(folder)
    assert not write_phantoms(folder, 10, size=64).changed
    for n, seed, size in ((11, 0, 64), (10, 1, 64), (10, 0, 65)):
        with pytest.raises(DataError, match="holds something else: choose a new folder"):
            write_phantoms(folder, n, seed, size=size)
    assert _list(folder) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        write_phantoms(tmp_path / "mine", 10, size=64)


@pytest.mark.parametrize(
    ("n", "seed", "size"), [(9, 0, 64), (0, 0, 64), (-1, 0, 64), (10, 0, 63), (10, 0, 4096)]
)
def test_senseless_wishes_are_one_sentence(tmp_path: Path, n: int, seed: int, size: int) -> None:
    with pytest.raises(DataError, match="phantoms of 64 to 2048 pixels can be drawn, found"):
        write_phantoms(tmp_path / "set", n, seed, size=size)
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", 20, size=64, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_the_command_says_synthetic(tmp_path: Path) -> None:
    arguments = ["data", "phantom", str(tmp_path / "set"), "-n", "11", "--size", "64", "--quiet"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "6 NORMAL, 5 PNEUMONIA in" in first.output
    assert "Synthetic: for demonstrations and tests only." in first.output
    assert "as before" in CliRunner().invoke(app, arguments).output


def test_phantoms_are_drawn_into_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_phantoms(".", 10, 1, size=64)
    assert len(list((tmp_path / "here" / "NORMAL").iterdir())) == 5


def test_a_marker_that_is_no_marker_is_another_folder(tmp_path: Path) -> None:
    (tmp_path / "phantom.json").write_text("[]")
    with pytest.raises(DataError, match="holds something else"):
        write_phantoms(tmp_path, 10, 1, size=64)
