"""The report: one self-contained page that a clinician can read, print and attach."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from pneumoscope import __version__
from pneumoscope._files import write_atomically
from pneumoscope._probability import format_probability
from pneumoscope.evaluation import Interval
from pneumoscope.evidence.gallery import GalleryTile, list_cut
from pneumoscope.evidence.masking import CONDITIONS
from pneumoscope.runtime import CAPTION

if TYPE_CHECKING:
    from pneumoscope.evidence.context import EvaluationContext

#: The rows of the table of numbers: key, name for people.
_ROWS = (
    ("n", "images"),
    ("recall", "sensitivity (recall of PNEUMONIA)"),
    ("specificity", "specificity (recall of NORMAL)"),
    ("fn", "missed pneumonias (false negatives)"),
    ("fp", "false alarms (false positives)"),
    ("tp", "found pneumonias (true positives)"),
    ("tn", "cleared normals (true negatives)"),
    ("auc", "area under the ROC curve"),
    ("average_precision", "average precision"),
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("precision", "precision, PNEUMONIA"),
    ("f1", "F1, PNEUMONIA"),
    ("support_pneumonia", "support, PNEUMONIA"),
    ("precision_normal", "precision, NORMAL"),
    ("f1_normal", "F1, NORMAL"),
    ("support_normal", "support, NORMAL"),
    ("brier", "Brier score"),
    ("threshold", "threshold"),
)
_PREVALENCES = (0.05, 0.2, 0.5)


def write_report(
    path: Path,
    metrics: dict[str, Any],
    final: str,
    split: str,
    context: EvaluationContext,
    figures: dict[str, Path],
    tiles: list[GalleryTile],
) -> None:
    """Write the report; nothing in it is fetched from elsewhere."""
    environment = Environment(
        loader=PackageLoader("pneumoscope.evidence"), autoescape=True, undefined=StrictUndefined
    )
    named = {*metrics[final][split]["false_negatives"], *(tile.path for tile in tiles)}
    environment.filters["short"] = make_shortener(named)
    environment.filters["probability"] = format_probability
    shown = metrics[final][split]
    stages = [stage for stage in metrics if stage not in {"final", "external"}]
    page = environment.get_template("report.html").render(
        context=context,
        metrics=metrics,
        stages=stages,
        columns=[(stage, part) for stage in stages for part in metrics[stage]],
        rows=[
            (name, [_show(metrics[s][p], key) for s in stages for p in metrics[s]])
            for key, name in _ROWS
        ],
        shown=shown,
        external=metrics.get("external"),
        final=final,
        split=split,
        points=[(name, point) for name, point in shown["operating_points"].items()]
        + [("at 0.5", {**shown["at_0.5"], "target": "the usual default, for comparison"})],
        show=_show,
        number=_show_number,
        interval=_show_interval,
        thousand=[_count_in_thousand(shown, prevalence) for prevalence in _PREVALENCES],
        figures=_embed_all(figures),
        attention=context.attention,
        attention_figures=_embed_all(context.attention.figures if context.attention else {}),
        conditions=CONDITIONS,
        tiles=tiles,
        cut=list_cut(tiles, shown),
        threshold=shown["threshold"],
        caption=CAPTION,
        configuration=yaml.safe_dump(context.configuration, sort_keys=False, allow_unicode=True),
        environment_text=yaml.safe_dump(context.environment, sort_keys=False),
        version=__version__,
    )
    write_atomically(path, page)


def _show(metrics: dict[str, Any], key: str) -> str:
    """Return a number with its interval, a dash where it is undefined."""
    value = metrics.get(key)
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    text = format_probability(value) if key == "threshold" else f"{value:.3f}"
    interval = _show_interval(metrics, key)
    return f"{text} ({interval})" if interval else text


def _show_number(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval.low:.3f}–{interval.high:.3f})" if interval else "")


def _show_interval(metrics: dict[str, Any], key: str) -> str:
    if key not in metrics.get("intervals", {}):
        return ""
    low, high = metrics["intervals"][key]
    return f"{low:.3f}–{high:.3f}"


def _count_in_thousand(metrics: dict[str, Any], prevalence: float) -> dict[str, Any]:
    """Return what happens to 1,000 people of whom this share has pneumonia."""
    sick = 1000 * prevalence
    missed = None if metrics["recall"] is None else round(sick * (1 - metrics["recall"]))
    alarms = None
    if metrics["specificity"] is not None:
        alarms = round((1000 - sick) * (1 - metrics["specificity"]))
    return {
        "prevalence": f"{prevalence:.0%}",
        "sick": round(sick),
        "missed": missed,
        "alarms": alarms,
    }


def make_shortener(paths: Collection[str]) -> Callable[[str], str]:
    """Return a function that names each of these images so that it can be found.

    By its file name; by its path below what they share where two have the same name, or where an
    image is a row of an array.
    """
    names = {Path(path).name for path in paths}
    if len(names) == len(paths) and not any("#" in path for path in paths):
        return lambda path: Path(path).name
    shared = os.path.commonpath([str(Path(path.split("#")[0]).absolute().parent) for path in paths])
    return lambda path: os.path.relpath(path, shared)


def _embed_all(figures: dict[str, Path]) -> dict[str, str]:
    return {name: embed_figure(figure) for name, figure in figures.items()}


def embed_figure(figure: Path) -> str:
    """Return a PNG as an address that holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(figure.read_bytes()).decode()}"
