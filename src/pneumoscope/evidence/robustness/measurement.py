"""Robustness: what a model is worth when images look otherwise, and what breaks it first.

The same images under every shift of `shifts.py` at five strengths, answered past the input gate.
Beside the numbers stands to how many the gate and the population check would have objected: a
failure that they stop is no silent one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation import Estimate, compute_metrics, wilson_interval
from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.paired_drop import Drop, measure_drops
from pneumoscope.evidence.classifier import Classifier
from pneumoscope.evidence.robustness.result import Level, RobustnessResult, ShiftResult
from pneumoscope.evidence.robustness.shifts import SHIFTS, Shift
from pneumoscope.images import from_array
from pneumoscope.runtime import Decision, Objection, Predictor, decide_by_band
from pneumoscope.runtime.gate import MIN_SIDE

_BATCH = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RobustnessPlan:
    """What to spend on it."""

    images: int = 400
    """At most so many, drawn with their patients whole and the classes in proportion."""
    seed: int = 0
    shifts: Sequence[Shift] = SHIFTS
    progress: Progress | None = None


def measure_robustness(
    classifier: Classifier,
    squares: NDArray[np.uint8],
    labels: Labels,
    patients: Sequence[str | None] | None = None,
    *,
    plan: RobustnessPlan | None = None,
) -> RobustnessResult:
    """Judge a model on the same images under every shift; nothing is re-tuned.

    Parameters
    ----------
    squares
        uint8 [N, size, size], as the network sees them before normalisation.
    labels
        int [N] with both classes, 0 (NORMAL) or 1 (PNEUMONIA).
    patients
        Patient of each image, None where unknown.
    """
    plan = plan or RobustnessPlan()
    rows = draw_sample(labels, patients, plan.images, plan.seed)
    squares, labels = np.ascontiguousarray(squares[rows]), labels[rows]
    groups = [None if patients is None else patients[row] for row in rows]
    points = classifier.operating_points
    balanced = points["balanced"].threshold
    thresholds = {
        name: points[name].threshold if name in points else balanced
        for name in ("rule_out", "balanced", "rule_in")
    }
    advance = _count_images(plan.progress, len(rows) * (1 + 5 * len(plan.shifts)))
    plain = _answer(classifier, squares, advance)

    def judge(strength: int, amount: float | None, answers: _Answers) -> Level:
        before = plain.probabilities if strength else None
        return _judge(labels, answers, before, groups, thresholds, (strength, amount))

    found = [
        ShiftResult(
            shift,
            tuple(
                judge(number, amount, _answer(classifier, changed, advance))
                for number, amount in enumerate(shift.strengths, start=1)
                for changed in [shift.apply(squares, amount, plan.seed)]
            ),
        )
        for shift in plan.shifts
    ]
    return RobustnessResult(
        images=len(rows),
        pneumonias=int(labels.sum()),
        patients=len({g for g in groups if g is not None}) + groups.count(None),
        seed=plan.seed,
        thresholds=thresholds,
        unshifted=judge(0, None, plain),
        shifts=tuple(found),
        example=squares[_find_middle(labels, plain.probabilities)],
    )


def draw_sample(
    labels: Labels, patients: Sequence[str | None] | None, most: int, seed: int
) -> NDArray[np.int64]:
    """Return the rows of at most `most` images, in order: patients whole, classes in proportion.

    Patients are taken in random order while they fit. A class of whom none fits gets its smallest
    patient all the same, since without it nothing can be judged.
    """
    n = len(labels)
    if n <= most:
        return np.arange(n)
    members: dict[Any, list[int]] = {}
    for row in range(n):
        patient = None if patients is None else patients[row]
        members.setdefault((patient, row if patient is None else None), []).append(row)
    # A patient with images of both classes is drawn among the pneumonias.
    sick = {key: bool(labels[rows].any()) for key, rows in members.items()}
    order = np.random.default_rng(seed).permutation(len(members))
    keys = [list(members)[place] for place in order]
    chosen: list[int] = []
    for ill in (True, False):
        part = [members[key] for key in keys if sick[key] == ill]
        room = round(most * sum(map(len, part)) / n)
        taken: list[int] = []
        for rows in part:
            if len(taken) + len(rows) <= room:
                taken += rows
        if part and not taken:
            taken = min(part, key=len)
        chosen += taken
    return np.sort(np.array(chosen, np.int64))


class _Answers(NamedTuple):
    """What the model says of N squares, and what speaks against it."""

    probabilities: Scores
    objections: list[Objection] | None


def _answer(
    classifier: Classifier, squares: NDArray[np.uint8], advance: Callable[[int], None]
) -> _Answers:
    logits: list[NDArray[np.float32]] = []
    objections: list[Objection] = []
    for start in range(0, len(squares), _BATCH):
        part = squares[start : start + _BATCH]
        if isinstance(classifier, Predictor):
            outputs = classifier.predict_pixels(part)
            objections += _examine(classifier, part, outputs.features)
            logits.append(outputs.logits)
        else:
            logits.append(classifier.predict_pixels(part).logits)
        advance(len(part))
    probabilities = classifier.calibrate(np.concatenate(logits))
    return _Answers(probabilities, objections if isinstance(classifier, Predictor) else None)


def _examine(
    predictor: Predictor, squares: NDArray[np.uint8], features: NDArray[np.float32]
) -> Iterator[Objection]:
    """Yield what `predict` would object to; the size of the file is no matter of shifts."""
    for square, row in zip(squares, features, strict=True):
        radiograph = from_array(square, "MONOCHROME2")
        side = max(MIN_SIDE, square.shape[0])
        sized = dataclasses.replace(radiograph, original_size=(side, side))
        yield predictor.examine(sized, square, row)


def _judge(
    labels: Labels,
    answers: _Answers,
    before: Scores | None,
    groups: Sequence[str | None],
    thresholds: Mapping[str, float],
    place: tuple[int, float | None],
) -> Level:
    """Return the level at a place, which is its number and its amount."""
    scores = answers.probabilities
    metrics = compute_metrics(labels, scores, thresholds["balanced"], groups)
    values = {"auc": metrics.auc, "sensitivity": metrics.recall, "specificity": metrics.specificity}
    intervals = metrics.intervals
    numbers = {
        name: Estimate(value, intervals.get("recall" if name == "sensitivity" else name))
        for name, value in values.items()
    }
    decided = decide_by_band(scores, thresholds["rule_out"], thresholds["rule_in"])
    drops: dict[str, Drop] = {}
    if before is not None:
        drops = measure_drops(labels, before, scores, thresholds["balanced"], groups)
    by_band = _count_decisions(labels, decided)
    as_decided = None
    if answers.objections is not None:
        as_decided = _count_as_decided(labels, decided, answers.objections)
    return Level(*place, numbers, drops, by_band, as_decided)


def _count_as_decided(
    labels: Labels, decided: NDArray[np.str_], objections: Sequence[Objection]
) -> dict[str, Estimate]:
    rejected = np.array([objection.reason is not None for objection in objections])
    outside = np.array([objection.outside_population for objection in objections]) & ~rejected
    final = np.where(outside, Decision.REFER.value, decided)
    final = np.where(rejected, Decision.REJECTED.value, final)
    return {
        **_count_decisions(labels, final),
        "rejected": _count_share(rejected),
        "outside_population": _count_share(outside),
    }


def _count_decisions(labels: Labels, decisions: NDArray[np.str_]) -> dict[str, Estimate]:
    """REFER and REJECTED count as flagged, since a person will look."""
    flagged = decisions != Decision.NORMAL.value
    return {
        "sensitivity": _count_share(flagged[labels == 1]),
        "specificity": _count_share(~flagged[labels == 0]),
        "referred": _count_share(decisions == Decision.REFER.value),
    }


def _count_share(hits: NDArray[np.bool_]) -> Estimate:
    value = float(hits.mean()) if len(hits) else None
    return Estimate(value, wilson_interval(int(hits.sum()), len(hits)))


def _find_middle(labels: Labels, probabilities: Scores) -> int:
    """Return the row of the pneumonia whose probability is the median of all pneumonias."""
    sick = np.flatnonzero(labels == 1)
    return int(sick[np.argsort(probabilities[sick], kind="stable")[(len(sick) - 1) // 2]])


def _count_images(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    return advance
