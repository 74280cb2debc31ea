"""From a table of predictions to the tree of numbers that `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from pneumoscope.datasets import read_labels
from pneumoscope.errors import DataError
from pneumoscope.evaluation import (
    Metrics,
    OperatingPoint,
    Subgroup,
    bin_probabilities,
    compute_calibration_error,
    compute_metrics,
    cut_values,
    estimate_shares,
    fit_calibration_line,
    fit_temperature,
    judge_subgroups,
    project_to_prevalences,
)
from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evidence.quality import QUALITY
from pneumoscope.evidence.questions import Questions
from pneumoscope.runtime import decide_by_band

Points = Mapping[str, Mapping[str, OperatingPoint]]
_SPLITS = ("train", "val", "test", "all")
#: What predictions take over from the manifest.
CARRIED = (
    "path", "sha256", "label", "split", "patient", "subtype", "block", "width", "height", "source",
)  # fmt: skip
#: Subgroups that are judged unasked, where the data tell them apart.
_USUAL = ("subtype", *QUALITY, "series", "pixels", "source")
#: Subgroups that follow from columns of the manifest.
DERIVED = ("series", "pixels")
_MOST_GROUPS = 40


class CalibrationPart(NamedTuple):
    """Images that set the calibration and judge nothing."""

    labels: Labels
    logits: Scores
    name: str


def summarise(
    predictions: pl.DataFrame,
    points: Points,
    final: str,
    questions: Questions | None = None,
    calibration: CalibrationPart | None = None,
    *,
    brief: bool = False,
) -> dict[str, Any]:
    """Return the tree of `metrics.json`: stage → split → numbers, and the final stage.

    Parameters
    ----------
    calibration
        The part that temperature scaling is fitted on; by default the stage's own `val` rows.
    brief
        Whether to leave out what only a report needs: decisions, calibration and subgroups.
    """
    questions = questions or Questions()
    tree: dict[str, Any] = {}
    for stage, stage_points in points.items():
        rows = predictions.filter(pl.col("stage") == stage)
        parts = {split: rows.filter(pl.col("split") == split) for split in _SPLITS}
        if "seen" in rows.columns and rows["seen"].any():
            parts["unseen"] = rows.filter(~pl.col("seen"))
        parts |= _split_by_leak(parts["test"])
        tree[stage] = {}
        for name, part in parts.items():
            if not part.height:
                continue
            numbers = _summarise_rows(part, stage_points["balanced"].threshold)
            if not brief:
                held = _find_calibration_part(parts["val"], name, calibration)
                numbers |= _summarise_points(part, stage_points, questions)
                numbers["calibration"] = summarise_calibration(part, held)
                numbers["subgroups"] = {
                    column: [group.to_dict() for group in groups]
                    for column, groups in find_subgroups(
                        part, stage_points["balanced"].threshold, questions.subgroups
                    ).items()
                }
            tree[stage][name] = numbers
    tree["final"] = final
    return tree


def _split_by_leak(test: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return `leaked` and `clean` where some test images have their patient or a copy in train.

    An image of whose patient nothing is known is in neither, unless its copy is in train.
    """
    if not {"patient_in_train", "copy_in_train"} <= set(test.columns):
        return {}
    # Of true, false and unknown, as SQL has it: one that is true decides.
    leaked = pl.col("patient_in_train") | pl.col("copy_in_train")
    parts = {"leaked": test.filter(leaked), "clean": test.filter(~leaked)}
    return parts if parts["leaked"].height else {}


def decide(predictions: pl.DataFrame, points: Points) -> pl.DataFrame:
    """Add `decision`: as `predict` decides, by the referral band where a stage has one."""
    parts = []
    for stage, named in points.items():
        balanced = named["balanced"]
        low = named.get("rule_out", balanced).threshold
        high = named.get("rule_in", balanced).threshold
        rows = predictions.filter(pl.col("stage") == stage)
        by_band = decide_by_band(rows["probability"].to_numpy(), low, high)
        decision: pl.Expr = pl.lit(pl.Series(by_band.tolist(), dtype=pl.String))
        if "rejection" in predictions.columns:
            decision = pl.when("outside_population").then(pl.lit("REFER")).otherwise(decision)
            rejected = pl.col("rejection").is_not_null()
            decision = pl.when(rejected).then(pl.lit("REJECTED")).otherwise(decision)
        parts.append(rows.with_columns(decision.alias("decision")))
    return pl.concat(parts)


def split_columns(rows: pl.DataFrame) -> tuple[Labels, Scores]:
    """Return labels, int [N], and probabilities, float [N]."""
    labels = read_labels(rows)
    return labels, rows["probability"].to_numpy().astype(np.float64)


# -- at the thresholds ----------------------------------------------------------------------------


def _summarise_rows(rows: pl.DataFrame, threshold: float) -> dict[str, Any]:
    labels, scores = split_columns(rows)
    found = compute_metrics(labels, scores, threshold, rows["patient"].to_list()).to_dict()
    missed = rows.filter((pl.col("label") == "PNEUMONIA") & (pl.col("probability") < threshold))
    found["seen"] = int(rows["seen"].sum()) if "seen" in rows.columns else None
    found["false_negatives"] = missed.sort("probability")["path"].to_list()
    return found


def _summarise_points(
    rows: pl.DataFrame, points: Mapping[str, OperatingPoint], questions: Questions
) -> dict[str, Any]:
    labels, scores = split_columns(rows)
    groups = rows["patient"].to_list()

    def judge(threshold: float) -> dict[str, Any]:
        numbers = _brief(compute_metrics(labels, scores, threshold, groups))
        called = scores >= threshold
        at = project_to_prevalences(labels, called, questions.prevalences, groups)
        return numbers | {"at_prevalences": [answer.to_dict() for answer in at]}

    decided = decide(rows, {rows["stage"][0]: points})
    flagged = (decided["decision"] != "NORMAL").to_numpy()
    at = project_to_prevalences(labels, flagged, questions.prevalences, groups)
    return {
        "operating_points": {
            name: {**judge(point.threshold), "target": point.target}
            for name, point in points.items()
        },
        "as_decided": {
            **_summarise_decisions(decided),
            "at_prevalences": [answer.to_dict() for answer in at],
        },
        "at_0.5": judge(0.5),
    }


def _brief(metrics: Metrics) -> dict[str, Any]:
    tree = metrics.to_dict()
    names = (
        "threshold", "accuracy", "recall", "specificity", "precision", "precision_normal", "f1",
        "mcc", "likelihood_ratio_positive", "likelihood_ratio_negative", "tn", "fp", "fn", "tp",
    )  # fmt: skip
    intervals = {name: pair for name, pair in tree["intervals"].items() if name in names}
    return {name: tree[name] for name in names} | {"intervals": intervals}


def _summarise_decisions(rows: pl.DataFrame) -> dict[str, Any]:
    """Return what the decisions are worth.

    REFER and REJECTED count as flagged, since a person will look, and as wrong for accuracy.
    """
    label, decision = rows["label"].to_numpy(), rows["decision"].to_numpy()
    ill, flagged, every = label == "PNEUMONIA", decision != "NORMAL", np.ones(len(label), np.bool_)
    shares = {
        "sensitivity": (flagged, ill),
        "specificity": (~flagged, ~ill),
        "accuracy": (decision == label, every),
        "referred": (decision == "REFER", every),
        "rejected": (decision == "REJECTED", every),
    }
    found: dict[str, Any] = {"intervals": {}}
    if "rejection" not in rows.columns:  # there was no gate that could have rejected
        del shares["rejected"]
        found["rejected"] = None
    for name, share in estimate_shares(shares, rows["patient"].to_list()).items():
        found[name] = share.value
        found["intervals"][name] = share.interval and share.interval.to_list()
    return found


# -- calibration ----------------------------------------------------------------------------------


def summarise_calibration(rows: pl.DataFrame, held: CalibrationPart | None) -> dict[str, Any]:
    """Return how far probabilities can be believed, and what temperature scaling would change.

    `before` is the network's own sigmoid; `after` divides its logits by a temperature that was
    fitted on `held`, images that are not judged here; both are absent without any.
    """
    labels, probabilities = split_columns(rows)
    groups = rows["patient"].to_list()
    found: dict[str, Any] = {
        "as_answered": _judge_calibration(labels, probabilities, groups),
        "bins": {
            name: [b.to_dict() for b in bin_probabilities(labels, probabilities, equal_mass=mass)]
            for name, mass in (("equal_mass", True), ("equal_width", False))
        },
        "temperature_scaling": None,
    }
    if held is not None and 0 < held.labels.sum() < len(held.labels):
        logits = rows["logit"].to_numpy().astype(np.float64)
        temperature = fit_temperature(held.labels, held.logits)
        found["temperature_scaling"] = {
            "temperature": temperature,
            "fitted_on": held.name,
            "before": _judge_calibration(labels, _squash(logits), groups),
            "after": _judge_calibration(labels, _squash(logits / temperature), groups),
        }
    return found


def _find_calibration_part(
    val: pl.DataFrame, split: str, given: CalibrationPart | None
) -> CalibrationPart | None:
    if given is not None or split == "val" or not val.height:
        return given
    labels, _ = split_columns(val)
    logits = val["logit"].to_numpy().astype(np.float64)
    return CalibrationPart(labels, logits, f"val, {val.height} images")


def _judge_calibration(labels: Labels, probabilities: Scores, groups: Groups) -> dict[str, Any]:
    line = fit_calibration_line(labels, probabilities, groups)
    return {
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "ece": compute_calibration_error(labels, probabilities, groups).to_dict(),
        "ece_equal_width": compute_calibration_error(
            labels, probabilities, groups, equal_mass=False
        ).to_dict(),
        "line": line and line.to_dict(),
    }


def _squash(logits: Scores) -> Scores:
    # Far from 0 the exponential overflows to infinity, and the result is 0 as it should be.
    with np.errstate(over="ignore"):
        squashed: Scores = 1 / (1 + np.exp(-logits))
    return squashed


# -- subgroups ------------------------------------------------------------------------------------


def find_subgroups(
    rows: pl.DataFrame, threshold: float, asked: Sequence[str] = ()
) -> dict[str, list[Subgroup]]:
    """Return column → its groups, judged at one threshold.

    Unasked the kinds of pneumonia, thirds of contrast and sharpness, and series, size and source
    where there are several.
    """
    labels, scores = split_columns(rows)
    groups = rows["patient"].to_list()
    found = {}
    for column in dict.fromkeys((*_USUAL, *asked)):
        values = read_column(rows, column)
        if values is None:
            continue
        kinds = column == "subtype"
        names = cut_values(values)
        told = {name for name, label in zip(names, labels, strict=True) if label or not kinds}
        told -= {"unknown", "none"} if kinds else set()
        if column in asked or (kinds and told) or 1 < len(told) <= _MOST_GROUPS:
            found[column] = judge_subgroups(
                labels, scores, threshold, names, groups, kinds_of_pneumonia=kinds
            )
    return found


def read_column(rows: pl.DataFrame, column: str) -> list[object] | None:
    """Return a column, or one that follows from others (`DERIVED`); None without."""
    if column in rows.columns:
        return rows[column].to_list()
    if column == "series" and "block" in rows.columns:
        return [block and block.split("/")[0] for block in rows["block"]]
    if column == "pixels" and {"width", "height"} <= set(rows.columns):
        return (rows["width"].cast(pl.Int64) * rows["height"]).to_list()
    return None


def tells_apart(values: Sequence[object]) -> bool:
    """Whether the values of a column make groups, and not too many of them to be judged."""
    return 1 < len(set(cut_values(values))) <= _MOST_GROUPS


def check_subgroups(rows: pl.DataFrame, asked: Sequence[str]) -> None:
    """Raise DataError where a column tells too many groups apart."""
    for column in asked:
        count = len(set(cut_values(read_column(rows, column) or [])))
        if count > _MOST_GROUPS:
            raise DataError(
                f"The column {column!r} tells {count} groups apart, at most {_MOST_GROUPS} are "
                "judged: join some of them, or write numbers, which are cut into thirds."
            )
