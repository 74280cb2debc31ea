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


def _draw_wards(folder, *names):
    labels = np.arange(60) % 2
    scores = np.linspace(0.1, 0.9, 60)
    groups = [names[i * len(names) // 60] for i in range(60)]
    subgroups = {"ward": [g.to_dict() for g in judge_subgroups(labels, scores, 0.5, groups)]}
    overall = compute_metrics(labels, scores, 0.5).to_dict()
    return plot_forest(overall, subgroups, f"Subgroups, {names[0]}", folder, "forest")


def test_names_of_any_script_are_drawn_without_a_warning(tmp_path):
    """Warnings are errors here. The last character stands in no font at all."""
    png = _draw_wards(tmp_path, "胸部影像科", "แผนก", "\U0001fac1", "قسم", "\U0005fffe")
    with Image.open(png) as image:
        assert np.asarray(image.convert("L")).std() > 5


@pytest.fixture
def install_font(tmp_path):
    """Return a function that installs a font of a single character, a black square."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib.font_manager import fontManager

    before = list(fontManager.ttflist)

    def install(character):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for corner in ((0, 1000), (1000, 1000), (1000, 0)):
            pen.lineTo(corner)
        pen.closePath()
        square, names = pen.glyph(), [".notdef", "square"]
        builder = FontBuilder(1000)
        builder.setupGlyphOrder(names)
        builder.setupCharacterMap({ord(character): "square"})
        builder.setupGlyf(dict.fromkeys(names, square))
        builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
        builder.setupHorizontalHeader(ascent=1000, descent=0)
        named = {"familyName": "Black Square", "styleName": "Regular", "psName": "BlackSquare"}
        builder.setupNameTable(named)
        builder.setupOS2()
        builder.setupPost()
        builder.save(tmp_path / "square.ttf")
        fontManager.addfont(tmp_path / "square.ttf")

    yield install
    fontManager.ttflist[:] = before
    fontManager._findfont_cached.cache_clear()


def test_a_character_that_the_usual_font_lacks_comes_from_one_that_has_it(
    tmp_path, install_font, caplog
):
    boxed = _draw_wards(tmp_path / "before", "肺科", "A").read_bytes()
    install_font("肺")
    found = _draw_wards(tmp_path / "after", "肺科", "A")
    assert found.read_bytes() != boxed
    assert "BlackSquare" in found.with_suffix(".svg").read_text()
    assert not caplog.records  # such as that the font has no bold


def test_fonts_that_are_installed_change_no_figure_that_needs_none(tmp_path, install_font):
    before = _draw_wards(tmp_path / "before", "A", "B").read_bytes()
    install_font("A")
    assert _draw_wards(tmp_path / "after", "A", "B").read_bytes() == before


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
