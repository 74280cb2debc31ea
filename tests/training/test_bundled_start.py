"""Training that goes on from the model in the box, with a stand-in for it."""

from __future__ import annotations

import json

import polars as pl
import pytest

from pneumoscope.cli import main
from pneumoscope.datasets import write_manifest
from pneumoscope.datasets.phantom import write_phantoms


@pytest.fixture(autouse=True)
def _stand_in(bundle, monkeypatch):
    monkeypatch.setattr("pneumoscope.network.weights.find_shipped_bundle", lambda: bundle)


@pytest.fixture
def run(monkeypatch, quick, tmp_path):
    def run(data, *arguments):
        settings = [word for setting in quick for word in ("--set", setting)]
        monkeypatch.setattr(
            "sys.argv",
            ["pneumoscope", "train", str(data), "--out", str(tmp_path / "run"), "--weights",
             "bundled", "--epochs", "1", "--quiet", *settings, *arguments],
        )  # fmt: skip
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0

    return run


def test_training_goes_on_from_the_bundled_weights(run, bundle, tmp_path):
    write_phantoms(tmp_path / "others", 40, seed=8, size=64)
    assert run(tmp_path / "others") == 0
    taken = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())["training"]
    described = json.loads((bundle / "bundle.json").read_text())["files"]["model.safetensors"]
    assert taken["weights_taken"]["name"] == "bundled"
    assert taken["weights_taken"]["sha256"] == described["sha256"]
    card = (tmp_path / "run" / "bundle" / "README.md").read_text()
    assert "Starting from the weights that come with Pneumoscope." in card


@pytest.mark.parametrize("part", ["train", "val"])
def test_what_trained_or_calibrated_the_bundle_cannot_test_its_heir(
    run, finished_run, tmp_path, capsys, part
):
    frame = pl.read_parquet(finished_run / "manifest.parquet")
    other = {"train": "val", "val": "train"}[part]
    swapped = pl.col("split").replace({part: "test", "test": part, other: other})
    write_manifest(frame.with_columns(swapped), tmp_path / "swapped.parquet")
    seen = frame.filter(split=part).height
    assert run(tmp_path / "swapped.parquet") == 2
    error = capsys.readouterr().err
    assert f"weights bundled have seen {seen} of {seen} test images (100.0%)" in error
    assert "--allow-contamination" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
