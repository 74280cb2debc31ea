"""What is written comes back as it was, and appears as a whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    Calibration,
    ImageHashes,
    OperatingPointInfo,
    narrow,
    pack_tensors,
    read_bundle,
    verify_bundle,
    write_files,
)
from pneumoscope.errors import BundleError

MakeBundle = Callable[..., Bundle]
MakeInfo = Callable[..., BundleInfo]


def test_a_bundle_comes_back_as_it_was_written(
    make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    opened = read_bundle(make_bundle().path)
    assert opened.info.model_copy(update={"files": {}}) == make_info()
    assert set(opened.training_images().sha256) == {"ff" * 32, "00" * 32, "ab" * 32}
    np.testing.assert_array_equal(opened.reference()["logits"], np.float32([-1.5, 2.5]))
    assert verify_bundle(opened.path) == []
    assert repr(opened).startswith("Bundle('tiny', ")


def test_a_bundle_without_training_images_has_an_empty_set(make_bundle: MakeBundle) -> None:
    assert make_bundle(training_images=ImageHashes()).training_images() == ImageHashes()


def test_training_hashes_are_stored_sorted(make_bundle: MakeBundle) -> None:
    with np.load(make_bundle().file("training_images.npz"), allow_pickle=False) as stored:
        rows = [row.tobytes() for row in stored["sha256"]]
    assert rows == sorted(rows)
    assert len(rows) == 3


def test_the_same_bundle_has_the_same_bytes(tmp_path: Path, make_bundle: MakeBundle) -> None:
    first, second = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b")
    assert first.sha256 == second.sha256


def test_another_library_reads_the_weights(make_bundle: MakeBundle) -> None:
    weights = safetensors.numpy.load_file(make_bundle().file("model.safetensors"))
    assert weights["fc.weight"].dtype == np.float16
    assert weights["bn.num_batches_tracked"] == 7
    np.testing.assert_array_equal(weights["fc.weight"], np.arange(12).reshape(3, 4))


def test_positions_of_tensors_are_those_in_the_file(rng: np.random.Generator) -> None:
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "half": rng.normal(size=(3, 5)).astype(np.float16),
        "single": rng.normal(size=7).astype(np.float32),
        "counter": np.array(5),
        "empty": np.zeros((0, 2), np.float16),
    }
    data, places = pack_tensors(tensors)
    for name, place in places.items():
        stored = np.frombuffer(data[place.offset : place.offset + place.length], place.dtype)
        np.testing.assert_array_equal(stored.reshape(place.shape), tensors[name])
        assert place.offset % tensors[name].itemsize == 0


def test_a_dtype_that_is_not_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="int16; only float16, float32, int64"):
        pack_tensors({"x": np.zeros(1, np.int16)})


@given(
    arrays.arrays(
        np.float32,
        st.integers(0, 9),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_narrowing_never_overflows(array: np.ndarray[Any, Any]) -> None:
    stored = narrow(array)
    assert np.isfinite(stored).all()
    np.testing.assert_allclose(stored, array, rtol=2**-11, atol=2**-25)
    assert (stored.dtype == np.float16) == bool((np.abs(array) <= 65504).all())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, make_bundle: MakeBundle) -> None:
    with pytest.raises(
        BundleError, match=r"weight fc\.weight is not finite: the training diverged"
    ):
        make_bundle(weights={"fc.weight": np.array([1.0, np.nan])})
    assert list(tmp_path.iterdir()) == []


def test_object_arrays_are_not_stored(make_bundle: MakeBundle) -> None:
    with pytest.raises(BundleError, match="array evil holds Python objects"):
        make_bundle(reference={"evil": np.array([object()])})


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        ({"auc": object()}, "cannot be written as JSON"),
        ({"list": ["long"] * 20_000}, "only 65,536 are allowed"),
    ],
)
def test_a_description_that_cannot_be_stored_leaves_nothing(
    tmp_path: Path, make_bundle: MakeBundle, make_info: MakeInfo, metrics: Any, sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence):
        make_bundle(info=make_info(metrics=metrics))
    assert list(tmp_path.iterdir()) == []


def test_an_undefined_number_is_stored_as_none(
    make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    path = make_bundle(info=make_info(metrics={"auc": float("nan")})).path
    assert read_bundle(path).info.metrics == {"auc": None}


def test_an_older_bundle_is_replaced(make_bundle: MakeBundle, make_info: MakeInfo) -> None:
    path = make_bundle().path
    make_bundle(info=make_info(name="newer"))
    assert read_bundle(path).info.name == "newer"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("clutter", ["notes.txt", "bundle.json/x", "file"])
def test_what_is_not_a_bundle_is_not_overwritten(
    tmp_path: Path, make_bundle: MakeBundle, clutter: str
) -> None:
    target = tmp_path / "bundle"
    if clutter == "file":
        target.write_text("mine")
    else:
        (target / clutter).parent.mkdir(parents=True)
        (target / clutter).write_text("mine")
    with pytest.raises(BundleError, match="is no bundle, or holds other things too"):
        make_bundle()
    assert target.exists()


def test_a_bundle_with_a_strangers_file_is_not_overwritten(make_bundle: MakeBundle) -> None:
    path = make_bundle().path
    (path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="holds other things too"):
        make_bundle()
    assert (path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path, make_bundle: MakeBundle) -> None:
    (tmp_path / "bundle").mkdir()
    assert make_bundle().verify() == []


def test_a_disk_that_fails_leaves_the_old_bundle(
    make_bundle: MakeBundle, make_info: MakeInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle().path

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BundleError, match="No space left on device"):
        make_bundle(info=make_info(name="newer"))
    monkeypatch.undo()
    assert read_bundle(path).info.name == "tiny"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_rename_that_fails_brings_the_old_bundle_back(
    make_bundle: MakeBundle, make_info: MakeInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle().path
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if self.name == "bundle" and self != path:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(BundleError, match="Permission denied"):
        make_bundle(info=make_info(name="newer"))
    assert read_bundle(path).info.name == "tiny"


def test_a_bundle_is_made_from_another_without_touching_its_weights(
    tmp_path: Path, make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    old = make_bundle()
    files: dict[str, bytes | Path] = {name: old.file(name) for name in old.info.files}
    del files["README.md"]
    calibration = Calibration(temperature=2.0, bias=0.5)
    new = write_files(tmp_path / "new", make_info(calibration=calibration), files)
    assert new.info.files["model.safetensors"] == old.info.files["model.safetensors"]
    assert "sigmoid(logit / 2 + 0.5)" in new.file("README.md").read_text()


def test_a_bundle_needs_all_its_files(tmp_path: Path, make_info: MakeInfo) -> None:
    with pytest.raises(BundleError, match=r"needs model\.safetensors"):
        write_files(tmp_path / "new", make_info(), {})


def test_the_seal_is_the_last_word(make_bundle: MakeBundle) -> None:
    tree = json.loads((make_bundle().path / "bundle.json").read_text())
    assert list(tree)[-1] == "seal"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decides": "mine"}, "'mine' is to decide, but there are only rule_out, balanced"),
        (
            {
                "operating_points": {
                    "rule_out": OperatingPointInfo(threshold=0.6, target="x"),
                    "balanced": OperatingPointInfo(threshold=0.5, target="x"),
                }
            },
            "thresholds must rise",
        ),
        ({"files": {"x": {"sha256": "A" * 64, "size": 1}}}, "64 hexadecimal digits"),
        ({"calibration": {"temperature": 0}}, "greater than 0"),
        ({"calibration": {"temperature": float("inf")}}, "finite"),
        ({"operating_points": {}}, "at least 1"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    make_info: MakeInfo, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make_info(**changes)


def test_calibration_is_a_sigmoid_that_never_overflows() -> None:
    probability = Calibration(temperature=2.0, bias=1.0).apply(np.array([-2.0, 0.0, -1e9, 1e9]))
    np.testing.assert_allclose(probability, [0.5, 1 / (1 + np.exp(-1)), 0, 1])


def test_reading_needs_no_heavy_library(make_bundle: MakeBundle) -> None:
    code = (
        "import sys; from pneumoscope.bundle import read_bundle\n"
        f"b = read_bundle({str(make_bundle().path)!r}); b.file('model.onnx'); b.reference()\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'safetensors', 'polars', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
