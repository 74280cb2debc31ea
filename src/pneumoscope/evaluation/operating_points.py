"""Operating points: thresholds chosen on validation, each for a purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.intervals import find_lower_bound

#: The points in the order of their thresholds.
NAMES = ("rule_out", "balanced", "rule_in")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it reached where it was chosen."""

    name: str
    threshold: float
    """Probability from which PNEUMONIA is called."""
    target: str
    """What was asked for, in words, and whether the sample could show it."""
    sensitivity: float | None
    specificity: float | None


class _Choice(NamedTuple):
    threshold: float
    target: str


#: What the points aim at where nobody says otherwise.
RULE_OUT_SENSITIVITY, RULE_IN_SPECIFICITY = 0.99, 0.95


def choose_operating_points(
    labels: Labels,
    probabilities: Scores,
    *,
    sensitivity: float = RULE_OUT_SENSITIVITY,
    specificity: float = RULE_IN_SPECIFICITY,
    trust_labels: bool = True,
    confidence: float | None = None,
) -> dict[str, OperatingPoint]:
    """Choose `rule_out`, `balanced` and `rule_in` on validation data.

    `rule_out` is the highest threshold with at least the target sensitivity, `rule_in` the lowest
    with at least the target specificity, `balanced` the one with the largest Youden index (Youden
    1950). Each lies in the middle of the gap between two observed scores. Their thresholds are
    ordered: where the classes are apart so well that targets would cross, all meet in between.
    Where too many healthy images score 1, no threshold is specific enough: `rule_in` is then 1,
    and says so.

    Parameters
    ----------
    labels
        int [N] with both classes, 0 (NORMAL) or 1 (PNEUMONIA).
    probabilities
        float [N], 0..1.
    trust_labels
        Whether an image counts as what its label says. Without, it counts as a pneumonia with its
        own probability, which must be calibrated: what a threshold is expected to reach. Then no
        threshold hangs on the few images in a tail, some of which carry a wrong label.
    confidence
        Where given, such as 0.95, it is not enough that the sample reaches a target: the exact
        one-sided lower bound (Clopper & Pearson 1934) must. Since the errors that it allows depend
        on the number of cases alone, such a threshold is a tolerance limit (Wilks 1941): with
        this confidence it reaches the target among all people like these, provided that images are
        independent. Where the sample cannot show the target, the safest threshold is taken, and
        says so.

    Raises
    ------
    ValueError
        A confidence is asked for, but labels are not trusted: then there is nothing to count.
    """
    if confidence is not None and not trust_labels:
        raise ValueError("A confidence needs labels that are trusted: cases are counted by them.")
    reached = _Reached(labels, probabilities, trust_labels)
    balanced = reached.find_balanced()
    if confidence is None:
        out = reached.rule_out(sensitivity)
        into = reached.rule_in(specificity)
    else:
        out = reached.rule_out_surely(sensitivity, confidence)
        into = reached.rule_in_surely(specificity, confidence)
    chosen = {
        "rule_out": out._replace(threshold=min(out.threshold, balanced.threshold)),
        "balanced": balanced,
        "rule_in": into._replace(threshold=max(into.threshold, balanced.threshold)),
    }
    positives, negatives = probabilities[labels == 1], probabilities[labels == 0]
    return {
        name: OperatingPoint(
            name,
            choice.threshold,
            choice.target,
            float((positives >= choice.threshold).mean()),
            float((negatives < choice.threshold).mean()),
        )
        for name, choice in chosen.items()
    }


class _Reached:
    """What each possible threshold reaches on a sample."""

    def __init__(self, labels: Labels, probabilities: Scores, trust_labels: bool) -> None:
        sick = labels.astype(np.float64) if trust_labels else probabilities
        order = np.argsort(probabilities, kind="stable")
        self.thresholds = _list_cuts(probabilities)
        below = np.searchsorted(probabilities[order], self.thresholds, "left")
        self.missed = np.concatenate([[0.0], np.cumsum(sick[order])])[below]
        spared = np.concatenate([[0.0], np.cumsum(1 - sick[order])])[below]
        self.alarmed = (1 - sick).sum() - spared
        self.sensitivity = 1 - self.missed / sick.sum()
        self.specificity = spared / (1 - sick).sum()
        self.positives, self.negatives = int((labels == 1).sum()), int((labels == 0).sum())
        self._words = "" if trust_labels else "expected "

    def find_balanced(self) -> _Choice:
        both = self.sensitivity + self.specificity
        ties = np.flatnonzero(both >= both.max() - 1e-12)
        target = f"{self._words}largest sum of sensitivity and specificity"
        return _Choice(float(self.thresholds[ties[len(ties) // 2]]), target)

    def rule_out(self, share: float) -> _Choice:
        target = f"{self._words}sensitivity of at least {100 * share:.3g}%"
        threshold = float(self.thresholds[self.sensitivity >= share].max())
        return _Choice(threshold, target + _doubt_few(self.positives, share))

    def rule_in(self, share: float) -> _Choice:
        target = f"{self._words}specificity of at least {100 * share:.3g}%"
        target += _doubt_few(self.negatives, share)
        specific = self.thresholds[self.specificity >= share]
        if not len(specific):
            return _Choice(float(self.thresholds.max()), f"{target} (out of reach)")
        return _Choice(float(specific.min()), target)

    def rule_out_surely(self, share: float, confidence: float) -> _Choice:
        allowed, doubt = _count_allowed(self.positives, share, confidence)
        target = f"sensitivity of at least {100 * share:.3g}% with {100 * confidence:.3g}% "
        threshold = float(self.thresholds[self.missed <= allowed].max())
        return _Choice(threshold, f"{target}confidence{doubt}")

    def rule_in_surely(self, share: float, confidence: float) -> _Choice:
        allowed, doubt = _count_allowed(self.negatives, share, confidence)
        target = f"specificity of at least {100 * share:.3g}% with {100 * confidence:.3g}% "
        specific = self.thresholds[self.alarmed <= allowed]
        if not len(specific):
            return _Choice(float(self.thresholds.max()), f"{target}confidence (out of reach)")
        return _Choice(float(specific.min()), f"{target}confidence{doubt}")


def count_cases_needed(share: float, confidence: float = 0.95) -> int:
    """Return how many cases without one error show that at least this share is answered rightly.

    >>> count_cases_needed(0.99), count_cases_needed(0.95)
    (299, 59)
    """
    return int(np.ceil(np.log(1 - confidence) / np.log(share)))


def _count_allowed(cases: int, share: float, confidence: float) -> tuple[int, str]:
    """Return how many errors still show the share, and a doubt where not even none does."""
    errors = 0
    while errors < cases and find_lower_bound(cases - errors, cases, confidence) >= share:
        errors += 1
    if errors:
        return errors - 1, ""
    bound = find_lower_bound(cases, cases, confidence)
    return 0, (
        f" ({cases} images cannot show it: without an error they show {100 * bound:.1f}%, "
        f"{count_cases_needed(share, confidence)} would show it)"
    )


def _doubt_few(cases: int, share: float) -> str:
    # The rule of three: fewer cases cannot support such a share.
    return f" ({cases} images are too few to support it)" if cases < 3 / (1 - share) else ""


def _list_cuts(probabilities: Scores) -> Scores:
    """Return the middles of all gaps between observed scores, and the two ends."""
    values = np.unique(probabilities)
    middles = (values[1:] + values[:-1]) / 2
    # Neighbouring floats have no middle; then the upper one is the cut.
    middles = np.where(middles <= values[:-1], values[1:], middles)
    return np.concatenate([[0.0], middles, [min(1.0, np.nextafter(values[-1], 2.0))]])
