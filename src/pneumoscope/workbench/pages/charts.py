"""Charts as SVG, drawn here: their colours come from the style sheet by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from pneumoscope.evaluation import Stability
from pneumoscope.workbench.monitoring import Agreement, Volume

_WIDTH, _HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 10, 22


def draw_volume(days: Sequence[tuple[date, Volume]]) -> Markup:
    """Return bars of what was answered each day, stacked by kind."""
    series = [
        ("pneumonia", [volume.pneumonia for _, volume in days]),
        ("refer", [volume.refer for _, volume in days]),
        ("normal", [volume.normal for _, volume in days]),
        ("rejected", [volume.rejected + volume.errors for _, volume in days]),
    ]
    return _draw_stacks([day for day, _ in days], series, "Answers a day by decision")


def draw_agreement(agreements: Sequence[Agreement], days: Sequence[date]) -> Markup:
    """Return bars of what readers said each day: agreed, and did not."""
    by_day = {agreement.day: agreement for agreement in agreements}
    found = [by_day.get(day, Agreement(day, 0, 0)) for day in days]
    series = [
        ("normal", [entry.agreed for entry in found]),
        ("pneumonia", [entry.read - entry.agreed for entry in found]),
    ]
    return _draw_stacks(days, series, "Labels of readers a day: agreed and corrected")


def draw_shares(stability: Stability) -> Markup:
    """Return pairs of bars: share of the reference and of now in each bin."""
    bins = len(stability.reference)
    top = max(float(stability.reference.max()), float(stability.current.max()))
    step, height = 160 / bins, 44
    parts = []
    for place in range(bins):
        for offset, name, shares in (
            (0.1, "reference", stability.reference),
            (0.5, "current", stability.current),
        ):
            tall = height * float(shares[place]) / top
            parts.append(
                f'<rect class="{name}" x="{(place + offset) * step:.1f}" width="{0.4 * step:.1f}" '
                f'y="{height - tall:.1f}" height="{tall:.1f}"/>'
            )
    label = "Share in each bin, calibration part beside the latest answers"
    return Markup(  # numbers and words of ours # nosec B704
        f'<svg class="chart shares" viewBox="0 0 160 {height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def draw_roc(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], points: Mapping[str, float]
) -> Markup:
    """Return the ROC curve with its operating points and a marker that a script moves.

    A good curve lies in the upper left corner: that is drawn again, five times as large, where the
    large drawing is empty.
    """
    left, top, side = 40, 12, 340
    curve = roc_curve(labels, probabilities)[:2]
    marks = [_rate_errors(labels, probabilities >= threshold) for threshold in points.values()]
    ticks = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + tick * side, top + (1 - tick) * side
        ticks += [
            f'<text x="{x:g}" y="{top + side + 15}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{left - 6}" y="{y + 4:g}" text-anchor="end">{tick:g}</text>',
        ]
    ticks += [
        f'<text x="{left + side / 2:g}" y="{top + side + 32}" text-anchor="middle">'
        "1 − specificity</text>",
        f'<text transform="translate(11 {top + side / 2:g}) rotate(-90)" text-anchor="middle">'
        "sensitivity</text>",
        f'<text x="{left + 330}" y="{top + 143}" text-anchor="end">'
        "the corner, five times as large</text>",
        f'<text x="{left + 145}" y="{top + 154}" text-anchor="end">1</text>',
        f'<text x="{left + 145}" y="{top + 330}" text-anchor="end">0.8</text>',
        f'<text x="{left + 330}" y="{top + 336}" text-anchor="end" dy="-8" dx="-4">0.2</text>',
    ]
    return Markup(  # numbers and words of ours # nosec B704
        f'<svg id="roc" class="chart roc" viewBox="0 0 {left + side + 14} {top + side + 38}" '
        'role="img" aria-labelledby="roc-title">'
        '<title id="roc-title">ROC curve of the calibration part</title>'
        f"{_draw_curve(curve, marks, (left, top, side), 1)}"
        f"{_draw_curve(curve, marks, (left + 150, top + 150, 180), 0.2)}{''.join(ticks)}</svg>"
    )


def _rate_errors(labels: NDArray[np.int64], called: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the shares of healthy images flagged and of pneumonias missed."""
    return float(called[labels == 0].mean()), float((~called)[labels == 1].mean())


def _draw_curve(
    curve: tuple[NDArray[np.float64], NDArray[np.float64]],
    marks: Sequence[tuple[float, float]],
    place: tuple[int, int, int],
    span: float,
) -> str:
    """Return the drawing of a curve's upper left corner, `span` wide and tall, in a square."""
    left, top, side = place
    scale = side / span
    line = " ".join(
        f"{left + x * scale:.1f},{top + (1 - y) * scale:.1f}" for x, y in zip(*curve, strict=True)
    )
    clip = f"corner-{side}"
    parts = [
        f'<clipPath id="{clip}"><rect x="{left - 8}" y="{top - 8}" width="{side + 8}" '
        f'height="{side + 8}"/></clipPath>',
        f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}"/>',
        *(
            f'<path class="grid" d="M{left + k * side / 4:g} {top}v{side}'
            f'M{left} {top + k * side / 4:g}h{side}"/>'
            for k in (1, 2, 3)
        ),
        f'<g clip-path="url(#{clip})"><polyline class="curve" points="{line}"/>',
        *(
            f'<rect class="point" x="{left + x * scale - 4:.1f}" y="{top + y * scale - 4:.1f}" '
            'width="8" height="8"/>'
            for x, y in marks
        ),
        f'<circle class="here" data-plot="{left} {top} {side} {span:g}" cx="{left}" cy="{top}" '
        'r="7"/></g>',
    ]
    return "".join(parts)


def _draw_stacks(
    days: Sequence[date], series: Sequence[tuple[str, Sequence[int]]], label: str
) -> Markup:
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    ceiling = _round_up(max(sum(column) for column in zip(*(v for _, v in series), strict=True)))
    base, step = _TOP + tall, wide / len(days)
    parts = []
    for share in (0, 0.5, 1):
        y = base - share * tall
        parts.append(f'<path class="grid" d="M{_LEFT} {y:g}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text x="{_LEFT - 5}" y="{y + 4:g}" text-anchor="end">{share * ceiling:g}</text>'
        )
    for place in range(len(days)):
        y = float(base)
        for name, values in series:
            height = values[place] / ceiling * tall
            y -= height
            if height:
                parts.append(
                    f'<rect class="{name}" x="{_LEFT + (place + 0.14) * step:.1f}" '
                    f'y="{y + 0.6:.1f}" width="{0.72 * step:.1f}" '
                    f'height="{max(0.2, height - 1.2):.1f}"/>'
                )
    for place, anchor in ((0, "start"), (len(days) // 2, "middle"), (len(days) - 1, "end")):
        x = _LEFT + (place + {"start": 0, "middle": 0.5, "end": 1}[anchor]) * step
        text = f"{days[place]:%d %b}".lstrip("0")
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{text}</text>')
    return Markup(  # numbers and words of ours # nosec B704
        f'<svg class="chart stacks" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}; the table below has the numbers">{"".join(parts)}</svg>'
    )


def _round_up(value: int) -> int:
    """Return the next even end of an axis, with one digit that counts: 2, 4, 6, 8, 10, 20, …"""
    if value <= 2:
        return 2
    unit: int = 10 ** int(math.log10(value))
    rounded = math.ceil(value / unit) * unit
    return rounded + rounded % 2
