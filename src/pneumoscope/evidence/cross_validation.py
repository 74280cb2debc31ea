"""Cross-validation in numbers: every fold, their spread, and all images pooled out of fold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pneumoscope import __version__
from pneumoscope._files import replace_atomically, write_atomically
from pneumoscope.datasets import read_labels
from pneumoscope.evaluation import plot_folds, plot_roc, pool_predictions
from pneumoscope.evidence.report.html import embed_figures, open_templates

#: What is told of every fold: key in `cross_validation.json`, key in `metrics.json`.
_NUMBERS = {
    "auc": "auc",
    "average_precision": "average_precision",
    "sensitivity": "recall",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "f1": "f1",
    "brier": "brier",
}
_NAMES = {
    "auc": "area under the ROC curve",
    "average_precision": "average precision",
    "f1": "F1",
    "brier": "Brier score",
    **{name: name for name in ("sensitivity", "specificity", "accuracy")},
}
_COUNTS = ("n", "positives", "tn", "fp", "fn", "tp")
#: The columns of `out_of_fold.csv`.
OUT_OF_FOLD = (
    "path", "label", "patient", "subtype", "fold", "seed", "logit", "probability", "threshold",
    "decision",
)  # fmt: skip


@dataclass(frozen=True)
class FoldRun:
    """A finished run of one fold."""

    seed: int
    fold: str
    folder: str
    """Below the cross-validation's own."""
    test: dict[str, Any]
    """The final stage's numbers on the fold, as in `metrics.json`."""


@dataclass(frozen=True)
class CrossValidationContext:
    """What stands around the numbers."""

    title: str
    grouping: str
    folds_given: bool
    """Whether the data brought its folds; else every seed draws its own."""
    notes: Sequence[str] = field(default_factory=list)
    warnings: Sequence[str] = field(default_factory=list)


def write_cross_validation(
    out: Path,
    runs: Sequence[FoldRun],
    predictions: pl.DataFrame,
    context: CrossValidationContext,
) -> dict[str, Any]:
    """Write `out_of_fold.csv`, `cross_validation.json`, `figures/` and `cross_validation.html`.

    Parameters
    ----------
    predictions
        One row an image and seed, columns `OUT_OF_FOLD`: the answer of the model that never saw it.

    Returns
    -------
    dict
        The tree of `cross_validation.json`.
    """
    predictions = predictions.select(OUT_OF_FOLD).sort("seed", "path")
    tree = summarise_folds(runs, predictions, context)
    with replace_atomically(out / "out_of_fold.csv") as temporary:
        predictions.write_csv(temporary)
    write_atomically(out / "cross_validation.json", json.dumps(tree, indent=2) + "\n")
    figures = _draw_figures(out / "figures", tree, predictions)
    _write_page(out / "cross_validation.html", tree, figures)
    return tree


def summarise_folds(
    runs: Sequence[FoldRun], predictions: pl.DataFrame, context: CrossValidationContext
) -> dict[str, Any]:
    """Return the tree of `cross_validation.json`."""
    seeds = sorted({run.seed for run in runs})
    rows = [_describe_run(run) for run in runs]
    return {
        "title": context.title,
        "grouping": context.grouping,
        "folds": len({run.fold for run in runs}),
        "seeds": seeds,
        "folds_given": context.folds_given,
        "images": predictions["path"].n_unique(),
        "runs": rows,
        "spread": {name: _measure_spread(rows, name, seeds) for name in _NUMBERS},
        "pooled": _pool(predictions, seeds),
        "notes": list(context.notes),
        "warnings": list(context.warnings),
    }


def _describe_run(run: FoldRun) -> dict[str, Any]:
    intervals = run.test["intervals"]
    return {
        "seed": run.seed,
        "fold": run.fold,
        "folder": run.folder,
        **{name: run.test[name] for name in _COUNTS},
        "threshold": run.test["threshold"],
        **{name: run.test[key] for name, key in _NUMBERS.items()},
        "intervals": {name: intervals[key] for name, key in _NUMBERS.items() if key in intervals},
    }


def _measure_spread(
    rows: Sequence[dict[str, Any]], name: str, seeds: Sequence[int]
) -> dict[str, float | None]:
    """Return mean, extremes, and standard deviations (n - 1) between folds and between seeds.

    Between folds: within a seed, pooled over the seeds. Between seeds: of the seeds' means. Folds
    share training images, so that neither is a standard error of the mean (Bengio and Grandvalet
    2004).
    """
    by_seed = [
        np.array([row[name] for row in rows if row["seed"] == seed and row[name] is not None])
        for seed in seeds
    ]
    values = np.concatenate(by_seed)
    means = np.array([part.mean() for part in by_seed if part.size])
    within = [part.var(ddof=1) for part in by_seed if part.size > 1]
    return {
        "mean": float(values.mean()) if values.size else None,
        "low": float(values.min()) if values.size else None,
        "high": float(values.max()) if values.size else None,
        "sd_folds": float(np.sqrt(np.mean(within))) if within else None,
        "sd_seeds": float(means.std(ddof=1)) if means.size > 1 else None,
    }


def _pool(predictions: pl.DataFrame, seeds: Sequence[int]) -> dict[str, Any]:
    parts = [predictions.filter(pl.col("seed") == seed).sort("path") for seed in seeds]
    assert all(part["path"].equals(parts[0]["path"]) for part in parts), "one answer an image"
    scores = np.stack([part["probability"].to_numpy() for part in parts])
    thresholds = np.stack([part["threshold"].to_numpy() for part in parts])
    pooled = pool_predictions(
        read_labels(parts[0]),
        scores,
        scores >= thresholds,
        parts[0]["patient"].to_list(),
    )
    return {
        name: {
            "value": number.value,
            "interval": number.interval.to_list(),
            "by_seed": list(number.by_seed),
        }
        for name, number in pooled.items()
    }


def _draw_figures(folder: Path, tree: dict[str, Any], predictions: pl.DataFrame) -> dict[str, Path]:
    pooled = tree["pooled"]["auc"]
    figures = {
        "Area under the ROC curve of every fold": plot_folds(
            [
                (f"seed {row['seed']}, fold {row['fold']}", row["auc"], row["intervals"].get("auc"))
                for row in tree["runs"]
                if row["auc"] is not None
            ],
            (pooled["value"], pooled["interval"]),
            "area under the ROC curve",
            folder,
            "folds",
        )
    }
    curves = {}
    for seed in tree["seeds"][:4]:  # more lines cannot be told apart
        rows = predictions.filter(pl.col("seed") == seed)
        labels = read_labels(rows)
        curves[f"seed {seed}"] = (labels, rows["probability"].to_numpy())
    figures["ROC, out of fold"] = plot_roc(curves, {}, "ROC, out of fold", folder, "roc")
    return figures


def _write_page(path: Path, tree: dict[str, Any], figures: dict[str, Path]) -> None:
    templates = open_templates()
    templates.filters["number"] = _make_formatter(3)
    templates.filters["fine"] = _make_formatter(4)
    page = templates.get_template("cross_validation.html").render(
        tree=tree,
        names=_NAMES,
        figures=embed_figures(figures),
        version=__version__,
    )
    write_atomically(path, page)


def _make_formatter(digits: int) -> Callable[[float | None], str]:
    return lambda value: "–" if value is None else f"{value:.{digits}f}"
