"""The report: one self-contained page that a clinician can read, print and attach."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pneumoscope import __version__
from pneumoscope._files import write_atomically
from pneumoscope._probability import format_probability
from pneumoscope.evaluation import Interval
from pneumoscope.evidence.attention.masking import CONDITIONS
from pneumoscope.evidence.report.gallery import GalleryTile, list_cut
from pneumoscope.evidence.report.html import embed_figures, make_shortener, open_templates
from pneumoscope.evidence.report.items import ReportItem, list_items
from pneumoscope.runtime import CAPTION

if TYPE_CHECKING:
    from pneumoscope.evidence.report.context import EvaluationContext

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
    ("mcc", "Matthews correlation"),
    ("likelihood_ratio_positive", "likelihood ratio of a flag"),
    ("likelihood_ratio_negative", "likelihood ratio of no flag"),
    ("brier", "Brier score"),
    ("threshold", "threshold"),
)
#: Figures that have a section of their own, by the start of their title.
_ROBUSTNESS, _HISTORY = "Robustness:", "Training:"
#: Figures that need the whole width to be read.
_WIDE = ("Subgroups", "Answers without", "What the model was shown", _ROBUSTNESS)
SCHEMA = 1


def write_report(
    out: Path,
    metrics: dict[str, Any],
    final: str,
    split: str,
    context: EvaluationContext,
    figures: dict[str, Path],
    tiles: Sequence[GalleryTile],
) -> None:
    """Write `report.html`, which fetches nothing from elsewhere, and `report.json`."""
    shown = metrics[final][split]
    items = list_items(context, metrics, shown)
    flow = _count_flow(context, shown)
    page = _render(metrics, final, split, context, figures, tiles, items, flow)
    write_atomically(out / "report.html", page)
    tree = {
        "schema": SCHEMA,
        "note": "research use, not a diagnosis",
        "title": context.title,
        "pneumoscope": __version__,
        "stage": final,
        "split": split,
        "warnings": context.warnings,
        "notes": context.notes,
        "items": [item.to_dict() for item in items],
        "flow": flow,
        "characteristics": context.data_summary.get("characteristics", {}),
        "fingerprint": context.data_summary.get("fingerprint"),
        "numbers": shown,
        "external": metrics.get("external"),
        "comparison": context.comparison,
        "configuration": context.configuration,
        "environment": context.environment,
    }
    write_atomically(out / "report.json", json.dumps(tree, indent=2, default=str) + "\n")


def _render(
    metrics: dict[str, Any],
    final: str,
    split: str,
    context: EvaluationContext,
    figures: dict[str, Path],
    tiles: Sequence[GalleryTile],
    items: list[ReportItem],
    flow: dict[str, int],
) -> str:
    templates = open_templates()
    named = {*metrics[final][split]["false_negatives"], *(tile.path for tile in tiles)}
    templates.filters["short"] = make_shortener(named)
    shown = metrics[final][split]
    stages = [stage for stage in metrics if stage not in {"final", "external"}]
    characteristics = context.data_summary.get("characteristics", {})
    attention_figures = context.attention.figures if context.attention else {}
    shown_figures = [*figures, *attention_figures]
    return templates.get_template("report.html").render(
        context=context,
        metrics=metrics,
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
        count=_show_count,
        signed=_show_lost,
        width=lambda name: _show_width(shown, name),
        items=items,
        flow=flow,
        characteristics=characteristics,
        characteristic_rows=_list_characteristics(characteristics),
        figures=embed_figures(figures),
        robustness_figures=[name for name in figures if name.startswith(_ROBUSTNESS)],
        history_figures=[name for name in figures if name.startswith(_HISTORY)],
        attention=context.attention,
        attention_figures=embed_figures(attention_figures),
        conditions=CONDITIONS,
        wide=[name for name in shown_figures if name.startswith(_WIDE)],
        tiles=tiles,
        cut=list_cut(tiles, shown),
        threshold=shown["threshold"],
        caption=CAPTION,
        configuration=_dump(context.configuration),
        training_text=_dump(context.training) if context.training else "",
        environment_text=_dump(context.environment),
        version=__version__,
    )


def _count_flow(context: EvaluationContext, shown: dict[str, Any]) -> dict[str, int]:
    """Return how many images were found, left out, readable, in other parts, and rejected."""
    excluded = context.data_summary["excluded"]
    left_out = sum(bool(entry.get("is_image", True)) for entry in excluded)
    parts = context.data_summary.get("characteristics", {})
    readable = sum(part["images"] for part in parts.values()) or shown["n"]
    rejected = shown["as_decided"].get("rejected") or 0.0
    return {
        "found": readable + left_out,
        "left_out": left_out,
        "readable": readable,
        "elsewhere": readable - shown["n"],
        "judged": shown["n"],
        "rejected": round(rejected * shown["n"]),
    }


def _list_characteristics(parts: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the rows of the table of characteristics, each with one text a part."""

    def tell(part: dict[str, Any], key: str) -> str:
        value = part.get(key)
        if isinstance(value, list):
            low, middle, high = value
            return f"{middle:g} ({low:g}–{high:g})"
        if key in {"NORMAL", "PNEUMONIA"}:
            return f"{value} ({value / part['images']:.0%})"
        return "unknown" if value is None else str(value)

    titles = {
        "images": "images",
        "patients": "patients",
        "images_of_unknown_patients": "images of unknown patients",
        "NORMAL": "NORMAL",
        "PNEUMONIA": "PNEUMONIA",
        "bacteria": "… bacterial",
        "virus": "… viral",
        "width": "width, median (quartiles), pixels",
        "height": "height, median (quartiles), pixels",
    }
    return [
        (title, [tell(part, key) if key in part else "–" for part in parts.values()])
        for key, title in titles.items()
        if any(key in part for part in parts.values())
    ]


def _dump(tree: dict[str, Any]) -> str:
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _show(metrics: dict[str, Any], key: str, digits: int = 3) -> str:
    """Return a number with its interval, a dash where it is undefined."""
    value = metrics.get(key)
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    digits = 1 if key == "likelihood_ratio_positive" else digits
    text = format_probability(value) if key == "threshold" else f"{value:.{digits}f}"
    interval = _show_interval(metrics, key, digits)
    return f"{text} ({interval})" if interval else text


def _show_count(row: dict[str, Any], key: str) -> str:
    """Return a number of people with its range."""
    if row[key] is None:
        return "–"
    ends = row["intervals"].get(key)
    return f"{row[key]:.0f}" + (f" ({ends[0]:.0f}–{ends[1]:.0f})" if ends else "")


def _show_width(metrics: dict[str, Any], key: str) -> str:
    """Return half the width of an interval."""
    ends = metrics["intervals"].get(key)
    return f"±{(ends[1] - ends[0]) / 2:.3f}" if ends else "no known width"


def _show_number(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval.low:.3f}–{interval.high:.3f})" if interval else "")


def _show_lost(lost: dict[str, Any]) -> str:
    low, high = lost["interval"]
    return f"{lost['value']:+.3f} ({low:+.3f} to {high:+.3f})"


def _show_interval(metrics: dict[str, Any], key: str, digits: int = 3) -> str:
    ends = metrics.get("intervals", {}).get(key)
    if not ends:
        return ""
    between = " to " if ends[0] < 0 else "–"
    return f"{ends[0]:.{digits}f}{between}{ends[1]:.{digits}f}"
