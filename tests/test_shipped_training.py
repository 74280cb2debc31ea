"""The scripts that make the model in the box, on a twentieth of its data or on phantoms."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pneumoscope.bundle import REFERENCE, read_bundle
from pneumoscope.runtime import INPUTS, read_inputs

ROOT = Path(__file__).parent.parent


def run(command, **environment):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path} | environment,
        check=False,
    )


@pytest.fixture(scope="module")
def collection(real_data):
    """The folder that holds chest_xray/ and adults/."""
    folder = Path(real_data).parent
    if not (folder / "adults").is_dir():
        pytest.skip(f"{folder} holds no adults/")
    return folder


@pytest.fixture(scope="module")
def parts(collection, tmp_path_factory):
    out = tmp_path_factory.mktemp("parts")
    script = ROOT / "scripts" / "shipped" / "make_parts.py"
    done = run([sys.executable, script, collection / "chest_xray", out])
    assert done.returncode == 0, done.stderr
    return {path.stem: pl.read_csv(path) for path in out.iterdir()}


@pytest.mark.real_data
def test_the_calibration_part_is_a_tenth_of_every_series_and_never_trains(parts):
    kept = {name: set(frame.filter(split="val")["path"]) for name, frame in parts.items()}
    assert len(set(map(frozenset, kept.values()))) == 1
    series = pl.col("path").str.extract(r"(bacteria|virus|NORMAL2-IM|/IM)")
    shares = parts["all"].group_by(series).agg((pl.col("split") == "val").mean())["split"]
    assert all(0.09 < share < 0.11 for share in shares)
    assert set(parts["all"]["split"]) == {"train", "val"}


@pytest.mark.real_data
def test_every_image_but_the_calibration_part_is_tested_in_one_fold(parts):
    tested = [path for i in range(5) for path in parts[f"fold{i}"].filter(split="test")["path"]]
    assert len(tested) == len(set(tested))
    assert set(tested) == set(parts["all"].filter(split="train")["path"])


def test_inputs_are_added_to_a_bundle_and_nothing_else_changes(finished_run, tmp_path):
    script = ROOT / "scripts" / "shipped" / "add_inputs.py"
    before, out = read_bundle(finished_run / "bundle"), tmp_path / "out"
    done = run([sys.executable, script, before.path, finished_run / "manifest.parquet", out])
    assert done.returncode == 0, done.stderr
    after = read_bundle(out)
    assert read_inputs(after.reference()).keys() == set(INPUTS) - {"feature_distance"}  # no gate
    changed = {n for n, file in after.info.files.items() if file != before.info.files[n]}
    assert changed == {REFERENCE}
    assert after.info.model_copy(update={"files": before.info.files}) == before.info
    assert all((after.reference()[n] == array).all() for n, array in before.reference().items())


def test_other_images_than_those_of_the_thresholds_are_refused(finished_run, tmp_path):
    script = ROOT / "scripts" / "shipped" / "add_inputs.py"
    frame = pl.read_parquet(finished_run / "manifest.parquet")
    turned = pl.concat(
        [frame.filter(pl.col("split") != "val"), frame.filter(split="val").reverse()]
    )
    turned.select("path", "label", "split").write_csv(tmp_path / "turned.csv")
    done = run(
        [sys.executable, script, finished_run / "bundle", tmp_path / "turned.csv", tmp_path / "out"]
    )
    assert done.returncode == 1
    assert "is not the calibration part of" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.real_data
@pytest.mark.slow
def test_the_script_goes_from_data_to_a_bundle_that_is_equipped(collection, tmp_path):
    done = run(
        ["bash", ROOT / "runs" / "train_shipped.sh", collection, tmp_path / "out"],
        SMOKE="1",
        PNEUMOSCOPE_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = read_bundle(tmp_path / "out" / "bundle")
    assert bundle.verify() == []
    info = bundle.info
    assert info.data.counts["test"] == {"NORMAL": 0, "PNEUMONIA": 0}
    assert info.licence.name == "CC-BY-4.0"
    assert set(info.precisions) == {"bf16", "int8"}
    assert {"gate_threshold", "population_weight"} <= bundle.reference().keys()
    assert read_inputs(bundle.reference()).keys() == set(INPUTS)
    again = run(
        ["bash", ROOT / "runs" / "train_shipped.sh", collection, tmp_path / "out"], SMOKE="1"
    )
    assert again.returncode == 0, again.stderr  # the training is done: only the rest runs
