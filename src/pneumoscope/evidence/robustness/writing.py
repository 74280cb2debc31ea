"""What robustness found as files: `robustness.json`, the curves, and a sheet of all shifts."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pneumoscope._files import write_atomically
from pneumoscope.evaluation.figures.canvas import save
from pneumoscope.evaluation.figures.shifts import Curve, plot_shift_curves
from pneumoscope.evidence.robustness.distortions import Square
from pneumoscope.evidence.robustness.result import NAMES, RobustnessResult, ShiftResult
from pneumoscope.evidence.robustness.shifts import SHIFTS, Shift

#: The figures by their titles in a report.
FIGURES = {
    "Robustness: performance under each shift": "robustness",
    "Robustness: one radiograph under each shift": "shifts",
}


def write_robustness(out: Path, result: RobustnessResult) -> dict[str, Path]:
    """Write `robustness.json` and its figures; return title → PNG for a report."""
    write_atomically(out / "robustness.json", json.dumps(result.to_dict(), indent=2) + "\n")
    shifts = [found.shift for found in result.shifts]
    drawn = (
        plot_robustness(result, out / "figures"),
        draw_shift_sheet(result.example, out / "figures", shifts=shifts, seed=result.seed),
    )
    return dict(zip(FIGURES, drawn, strict=True))


def plot_robustness(result: RobustnessResult, folder: Path) -> Path:
    """Draw AUC, sensitivity and specificity against the strength of each shift."""
    title = (
        f"The same {result.images} images ({result.pneumonias} pneumonias) under each shift, "
        "answered past the input gate"
    )
    curves = [_make_curve(result, found) for found in result.shifts]
    return plot_shift_curves(curves, title, folder, "robustness")


def draw_shift_sheet(
    square: Square, folder: Path, *, shifts: tuple[Shift, ...] | list[Shift] = SHIFTS, seed: int = 0
) -> Path:
    """Draw one image, uint8 [size, size], under every shift at every strength."""
    figure = Figure(figsize=(10.5, 1.62 * len(shifts) + 0.7), layout="constrained")
    figure.suptitle("One radiograph, as it is and under each shift at its five strengths")
    panels = figure.subplots(len(shifts), 6, squeeze=False)
    for row, shift in zip(panels, shifts, strict=True):
        _draw_tile(row[0], square, shift.title)
        for axes, strength in zip(row[1:], shift.strengths, strict=True):
            changed = shift.apply(square[None], strength, seed)[0]
            _draw_tile(axes, changed, shift.describe(strength))
    return save(figure, folder, "shifts", dpi=100)


def _draw_tile(axes: Axes, square: Square, title: str) -> None:
    axes.imshow(square, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=7.5, loc="left", pad=2)


def _make_curve(result: RobustnessResult, found: ShiftResult) -> Curve:
    levels = (result.unshifted, *found.levels)
    broken = found.breaks_at
    return Curve(
        title=found.shift.title,
        unit=found.shift.unit,
        ticks=["as it is", *(f"{strength:g}" for strength in found.shift.strengths)],
        lines={name: [level.numbers[key] for level in levels] for key, name in NAMES.items()},
        stopped=None
        if result.unshifted.stopped is None
        else [level.stopped or 0.0 for level in levels],
        breaks_at=None if broken is None else broken.strength,
    )
