"""Image quality in numbers, against SciPy, and as subgroups of an evaluation."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import ndimage

from pneumoscope.evidence import add_quality, describe_bundle, evaluate_subject
from pneumoscope.evidence.quality import measure_quality


@pytest.fixture
def squares() -> np.ndarray:
    rng = np.random.default_rng(4)
    return rng.integers(0, 256, (300, 24, 20), dtype=np.uint8)


def test_numbers_are_those_of_scipy(squares):
    found = measure_quality(squares)
    for row in (0, 255, 256, 299):  # on both sides of a chunk
        values = squares[row] / 255
        inner = ndimage.laplace(values)[1:-1, 1:-1]
        assert found["image_contrast"][row] == pytest.approx(values.std(), rel=1e-5)
        assert found["image_sharpness"][row] == pytest.approx(inner.var(), rel=1e-5)


def test_blur_lowers_sharpness_and_less_range_lowers_contrast(squares):
    was = measure_quality(squares)
    blurred = measure_quality(ndimage.gaussian_filter(squares, (0, 1, 1)))
    flat = measure_quality(squares // 2)
    assert (blurred["image_sharpness"] < was["image_sharpness"]).all()
    assert (flat["image_contrast"] < was["image_contrast"]).all()


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
