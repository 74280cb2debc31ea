"""What an installation brings: the model in the box as a whole, and nothing that is not meant."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pneumoscope.bundle import (
    BundleInfo,
    DataInfo,
    ImageHashes,
    OperatingPointInfo,
    find_shipped_bundle,
    read_bundle,
    write_bundle,
)
from pneumoscope.images import PreprocessingSpec

hatchling_wheel = pytest.importorskip("hatchling.builders.wheel")
hatchling_sdist = pytest.importorskip("hatchling.builders.sdist")

ROOT = Path(__file__).parent.parent
WEIGHTS = "pneumoscope/weights"
#: What the package index takes without being asked.
MOST_BYTES = 100_000_000


def _write_stand_in(folder: Path) -> None:
    info = BundleInfo(
        name="stand-in",
        created="2026-11-24",
        preprocessing=PreprocessingSpec(),
        operating_points={"balanced": OperatingPointInfo(threshold=0.5, target="x")},
        data=DataInfo(layout="folders", sources=["nowhere"], counts={}),
    )
    write_bundle(
        folder,
        info,
        weights={"fc.weight": np.ones((1, 4), np.float32)},
        graph=lambda places: b"graph",
        reference={"logits": np.zeros(2, np.float32)},
        training_images=ImageHashes(),
    )


def _copy_tree(target: Path, *, weights: bool) -> Path:
    left_out = [] if weights else ["weights"]
    shutil.copytree(
        ROOT / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__", *left_out)
    )
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, target / name)
    return target


def _build_wheel(root: Path) -> Path:
    builder = hatchling_wheel.WheelBuilder(str(root))
    return Path(next(builder.build(directory=str(root / "dist"), versions=["standard"])))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a stand-in for the model in the box, and litter around it."""
    root = _copy_tree(tmp_path_factory.mktemp("tree"), weights=False)
    folder = root / "src" / WEIGHTS
    _write_stand_in(folder)
    shutil.copy(folder / "model.onnx", folder / "model.int8.onnx")
    for litter in (folder, folder.parent):
        (litter / "__pycache__").mkdir(exist_ok=True)
        (litter / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
    return root


def _list_expected(tree: Path) -> set[str]:
    return {
        f"{WEIGHTS}/{path.name}" for path in (tree / "src" / WEIGHTS).iterdir() if path.is_file()
    }


def test_a_wheel_brings_the_model_and_no_litter(tree: Path, tmp_path: Path) -> None:
    wheel = _build_wheel(tree)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    assert {name for name in names if name.startswith(WEIGHTS)} == _list_expected(tree)
    assert len(_list_expected(tree)) == 7
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pneumoscope"}
    assert "pneumoscope/py.typed" in names
    assert "pneumoscope/training/recipes/classic.yaml" in names
    assert read_bundle(tmp_path / WEIGHTS).verify() == []


def test_a_source_distribution_brings_the_model_and_no_litter(tree: Path) -> None:
    builder = hatchling_sdist.SdistBuilder(str(tree))
    made = Path(next(builder.build(directory=str(tree / "dist"), versions=["standard"])))
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    found = {name.removeprefix("src/") for name in names if name.startswith(f"src/{WEIGHTS}")}
    assert found == _list_expected(tree)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.onnx", "model.int8.onnx", "golden.npz", "bundle.json"]
)
def test_git_keeps_the_model_and_changes_no_byte_of_it(name: str) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    path = f"src/{WEIGHTS}/{name}"
    ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT)
    assert ignored.returncode == 1
    asked = ["git", "check-attr", "text", "--", path]
    shown = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("text: unset")


@pytest.mark.slow
def test_the_wheel_is_small_enough(tmp_path: Path) -> None:
    shipped = find_shipped_bundle()
    if shipped is None:
        pytest.skip("this version brings no weights, so that its wheel says nothing")
    wheel = _build_wheel(_copy_tree(tmp_path, weights=True))
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith(WEIGHTS)}
    listed = {*read_bundle(shipped).info.files, "bundle.json"}
    assert inside == {f"{WEIGHTS}/{name}" for name in listed}
