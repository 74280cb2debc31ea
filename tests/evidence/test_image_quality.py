"""Image quality in numbers: columns of a table, and subgroups of an evaluation."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from pneumoscope.evidence import add_quality, describe_bundle, evaluate_subject
from pneumoscope.runtime import measure_images


def test_columns_are_contrast_and_sharpness_as_the_runtime_measures_them(rng):
    squares = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    found = add_quality(pl.DataFrame({"path": list("abc")}), squares)
    measured = measure_images(squares)
    for name in ("contrast", "sharpness"):
        assert found[f"image_{name}"].to_numpy() == pytest.approx(measured[name], abs=1e-6)


def test_nothing_is_measured_of_no_images():
    found = add_quality(pl.DataFrame({"path": []}), np.empty((0, 8, 8), np.uint8))
    assert found.columns == ["path", "image_contrast", "image_sharpness"]


def test_an_evaluation_judges_thirds_of_contrast_and_sharpness(bundle, strangers, tmp_path):
    evaluate_subject(describe_bundle(bundle), strangers, tmp_path / "out")
    tree = json.loads((tmp_path / "out" / "metrics.json").read_text())
    groups = tree[tree["final"]]["all"]["subgroups"]
    total = tree[tree["final"]]["all"]["n"]
    for name in ("image_contrast", "image_sharpness"):
        assert len(groups[name]) == 3
        assert sum(group["n"] for group in groups[name]) == total
    table = pl.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["image_sharpness"].min() > 0
