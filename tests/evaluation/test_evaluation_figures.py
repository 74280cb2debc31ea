"""Figures are drawn, say what they show, and do not depend on colour."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pneumoscope.evaluation import (
    band_precision_recall,
    band_roc,
    bin_probabilities,
    choose_operating_points,
    compute_decision_curve,
    compute_metrics,
    judge_subgroups,
    plot_confusion,
    plot_decision_curve,
    plot_forest,
    plot_history,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
)


@pytest.fixture
def draw(rng):
    labels = np.arange(60) % 2
    scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    points = choose_operating_points(labels, scores)
    curves = {"baseline": (labels, scores**2), "finetuned": (labels, scores)}
    history = {
        "epoch": [1, 2, 3],
        "train_loss": [0.7, 0.5, 0.4],
        "val_loss": [0.7, 0.6, 0.65],
        "train_accuracy": [0.5, 0.8, 0.9],
        "val_accuracy": [0.5, 0.7, 0.7],
    }
    plots = {
        "history": lambda folder: plot_history(history, "finetuned", folder, best_epoch=2),
        "confusion": lambda folder: plot_confusion(
            compute_metrics(labels, scores, 0.5), "test", folder, "confusion"
        ),
        "roc": lambda folder: plot_roc(
            curves, points, "ROC", folder, "roc", band_roc(labels, scores)
        ),
        "precision_recall": lambda folder: plot_precision_recall(
            curves, "PR", folder, "pr", band_precision_recall(labels, scores)
        ),
        "reliability": lambda folder: plot_reliability(
            bin_probabilities(labels, scores), scores, "Calibration", folder, "reliability"
        ),
        "decision_curve": lambda folder: plot_decision_curve(
            compute_decision_curve(labels, scores), "Decisions", folder, "decisions"
        ),
        "forest": lambda folder: plot_forest(
            compute_metrics(labels, scores, 0.5).to_dict(),
            {
                "ward": [
                    group.to_dict()
                    for group in judge_subgroups(labels, scores, 0.5, ["A"] * 57 + ["tiny"] * 3)
                ]
            },
            "Subgroups",
            folder,
            "forest",
        ),
    }
    return lambda name, folder: plots[name](folder)


NAMES = (
    "history", "confusion", "roc", "precision_recall", "reliability", "decision_curve", "forest"
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_comes_as_png_and_svg_and_is_not_blank(draw, tmp_path, name):
    png = draw(name, tmp_path / "new" / "folder")
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 300
    assert pixels.std() > 5
    svg = png.with_suffix(".svg").read_text()
    assert svg.count("<path") > 10
    assert "<svg" in svg


@pytest.mark.parametrize("name", NAMES)
def test_the_same_numbers_give_the_same_picture(draw, tmp_path, name):
    first, second = draw(name, tmp_path / "a"), draw(name, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_lines_differ_by_more_than_colour(draw, tmp_path):
    svg = draw("roc", tmp_path).with_suffix(".svg").read_text()
    assert "stroke-dasharray" in svg


def test_drawing_needs_no_screen_and_leaves_pyplot_alone(draw, tmp_path):
    import sys

    draw("confusion", tmp_path)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_bands_hold_the_curves_they_belong_to(rng):
    labels = np.arange(400) % 2
    scores = rng.normal(labels)
    band = band_roc(labels, scores)
    sensitivity = [
        (scores[labels == 1] >= np.quantile(scores[labels == 0], 1 - x)).mean() for x in band.x
    ]
    assert np.mean((band.low <= sensitivity) & (sensitivity <= band.high)) > 0.95
    assert (np.diff(band.low) >= -1e-12).all()
    precision = band_precision_recall(labels, scores)
    assert ((precision.low <= precision.high) & (precision.high <= 1)).all()
    assert precision.low[-1] == pytest.approx(0.45, abs=0.06)
