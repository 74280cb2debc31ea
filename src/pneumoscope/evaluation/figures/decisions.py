"""The decision curve."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from pneumoscope.evaluation.decision_curve import DecisionCurve
from pneumoscope.evaluation.figures.canvas import DARK, LIGHT, save, tidy


def plot_decision_curve(curve: DecisionCurve, title: str, folder: Path, name: str) -> Path:
    """Draw the net benefit of the model, with its band, beside treating all and treating none."""
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axes = figure.subplots()
    x = curve.thresholds
    axes.fill_between(
        x, curve.low, curve.high, color="0.88", linewidth=0, label="95 % of resamples"
    )
    axes.plot(x, curve.model, color=DARK, label="act on the model")
    axes.plot(x, curve.treat_all, color=LIGHT, linestyle="--", label="treat all")
    axes.plot(x, curve.treat_none, color="0.4", linestyle=":", label="treat none")
    top = 1.15 * curve.share
    axes.set(
        xlabel="threshold probability", ylabel="net benefit", title=title,
        xlim=(0, 1), ylim=(-0.15 * top, top),
    )  # fmt: skip
    axes.text(
        0.01, 0.02, f"at a share of pneumonias of {curve.share:.0%}", transform=axes.transAxes,
        fontsize=8, color="0.4",
    )  # fmt: skip
    tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    return save(figure, folder, name)
