"""Two evaluations of the same images, compared image by image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pneumoscope.datasets import map_labels
from pneumoscope.errors import DataError
from pneumoscope.evaluation import Answers, Difference, compare_answers
from pneumoscope.evaluation.arrays import Scores
from pneumoscope.evidence.summary import split_columns

#: Where neither an evaluation nor a column says from where on PNEUMONIA is called.
_USUAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class Earlier:
    """What another model said of images."""

    path: Path
    frame: pl.DataFrame
    """path, label, probability, and sha256 where it is known; one row an image."""
    stage: str | None
    threshold: float

    def describe(self) -> dict[str, Any]:
        """Return what `comparison.json` says of it."""
        return {"path": str(self.path), "stage": self.stage, "threshold": self.threshold}


def read_earlier(path: Path) -> Earlier:
    """Read the folder of an evaluation or of a run, or a table of predictions.

    A table needs the columns path, label and probability; its threshold is that of `metrics.json`
    beside it, else 0.5. Of several stages the final one is taken.

    Raises
    ------
    DataError
        There is nothing to compare with, or a column is missing.
    """
    file = path / "predictions.csv" if path.is_dir() else path
    if path.is_dir() and not (path / "metrics.json").is_file():
        raise DataError(
            f"{path} holds no finished evaluation, since there is no metrics.json: evaluate the "
            "earlier model anew."
        )
    try:
        frame = pl.read_csv(file, infer_schema=False, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{file} is not a readable table of predictions: --compare takes the folder of an "
            "earlier evaluation, or its predictions.csv."
        ) from error
    missing = [name for name in ("path", "label", "probability") if name not in frame.columns]
    if missing:
        raise DataError(
            f"{file} lacks {', '.join(missing)}: predictions to compare with have the columns "
            "path, label and probability."
        )
    numbers = frame["probability"].cast(pl.Float64, strict=False)
    if numbers.is_null().any() or not numbers.is_between(0, 1).all():
        raise DataError(f"{file} has probabilities that are no numbers between 0 and 1.")
    frame = frame.with_columns(numbers)
    metrics = _read_metrics(file.parent / "metrics.json")
    frame, stage = _choose_stage(frame, file, metrics)
    threshold = _USUAL_THRESHOLD
    if stage is not None and stage in metrics:
        threshold = next((part["threshold"] for part in metrics[stage].values()), threshold)
    return Earlier(file, frame, stage, float(threshold))


def _read_metrics(file: Path) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not readable JSON: evaluate the earlier model anew.") from error
    return tree


def _choose_stage(
    frame: pl.DataFrame, file: Path, metrics: dict[str, Any]
) -> tuple[pl.DataFrame, str | None]:
    if "stage" not in frame.columns:
        return frame, None
    stages = frame["stage"].unique(maintain_order=True).to_list()
    stage = metrics.get("final", stages[-1] if len(stages) == 1 else None)
    if stage not in stages:
        raise DataError(
            f"{file} has the stages {', '.join(map(str, stages))}, and no metrics.json beside it "
            "that names one: keep the rows of one stage."
        )
    return frame.filter(pl.col("stage") == stage), stage


def match_earlier(frame: pl.DataFrame, earlier: Earlier) -> Scores:
    """Return the earlier probabilities, float [N], in the order of the images of `frame`.

    Images are known by their content (sha256) where both sides have it, else by their path, else
    by file names that are unique on both sides.

    Raises
    ------
    DataError
        Images are missing in the earlier table, or carry another label there.
    """
    ours, theirs = _find_keys(frame, earlier.frame)
    found: dict[str, tuple[float, str]] = {}
    answers = earlier.frame.select("probability", "label").iter_rows()
    for key, answer in zip(theirs, answers, strict=True):
        if found.setdefault(key, answer) != answer:
            raise DataError(
                f"{earlier.path} answers {key} twice, and not alike: one row an image is needed."
            )
    missing = [key for key in ours if key not in found]
    if missing:
        raise DataError(
            f"{earlier.path} answers {len(ours) - len(missing)} of these {len(ours)} images: a "
            "paired comparison needs both models on the same images; evaluate the other one on "
            "this data too."
        )
    pairs = [found[key] for key in ours]
    labels = [label for _, label in pairs]
    names = sorted({str(label) for label in labels})
    try:
        meant = map_labels(names, None)
    except DataError as error:
        raise DataError(
            f"{earlier.path} calls the classes {', '.join(names)}: NORMAL and PNEUMONIA are needed."
        ) from error
    changed = sum(meant[str(a)] != b for a, b in zip(labels, frame["label"], strict=True))
    if changed:
        raise DataError(
            f"{earlier.path} has another label for {changed} of these {len(ours)} images: "
            "only answers may differ."
        )
    return np.array([probability for probability, _ in pairs], np.float64)


def _find_keys(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[list[str], list[str]]:
    if all("sha256" in f.columns and not f["sha256"].has_nulls() for f in (ours, theirs)):
        return ours["sha256"].to_list(), theirs["sha256"].to_list()
    paths = [f["path"].to_list() for f in (ours, theirs)]
    names = [[Path(path).name for path in part] for part in paths]
    unique = all(len(set(part)) == len(part) for part in names)
    if unique and not set(paths[0]) <= set(paths[1]):
        return names[0], names[1]
    return paths[0], paths[1]


def compare_with_earlier(rows: pl.DataFrame, threshold: float, earlier: Earlier) -> dict[str, Any]:
    """Return the tree of `comparison.json`: `first` is this evaluation, `second` the earlier one.

    Each model answers at its own threshold. `rows` are those of one stage.
    """
    labels, scores = split_columns(rows)
    before = match_earlier(rows, earlier)
    groups = rows["patient"].to_list()
    found = compare_answers(
        labels, Answers(scores, threshold), Answers(before, earlier.threshold), groups
    )
    return {
        "first": {"path": "predictions.csv", "stage": rows["stage"][0], "threshold": threshold},
        "second": earlier.describe(),
        "n": len(labels),
        "positives": int(labels.sum()),
        "differences": {name: difference.to_dict() for name, difference in found.items()},
        "sentence": _say(len(labels), found, earlier),
    }


def _say(n: int, found: dict[str, Difference], earlier: Earlier) -> str:
    parts = []
    for key, name in (("auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity",) * 2):
        if key not in found:
            continue
        one = found[key]
        said = f"{name} {one.first:.3f} instead of {one.second:.3f} ({one.difference:+.3f}"
        if one.interval:
            said += f", 95 % interval {one.interval.low:+.3f} to {one.interval.high:+.3f}"
        test = one.test.get("delong", {}).get("p", one.test.get("mcnemar", {}).get("p_mid"))
        parts.append(f"{said}, p {_say_p(test)})" if test is not None else f"{said})")
    return f"Against {earlier.path} on the same {n} images: {'; '.join(parts)}."


def _say_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
