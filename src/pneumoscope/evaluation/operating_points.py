"""Operating points: thresholds chosen on validation, each for a purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pneumoscope.evaluation.metrics import Labels, Scores

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


def choose_operating_points(
    labels: Labels,
    probabilities: Scores,
    *,
    sensitivity: float = 0.99,
    specificity: float = 0.95,
    trust_labels: bool = True,
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
    """
    thresholds = _list_cuts(probabilities)
    sick = labels.astype(np.float64) if trust_labels else probabilities
    positives, negatives = probabilities[labels == 1], probabilities[labels == 0]
    m, n = len(positives), len(negatives)
    order = np.argsort(probabilities, kind="stable")
    below = np.searchsorted(probabilities[order], thresholds, "left")
    missed = np.concatenate([[0.0], np.cumsum(sick[order])])[below]
    spared = np.concatenate([[0.0], np.cumsum(1 - sick[order])])[below] / (1 - sick).sum()
    reached = 1 - missed / sick.sum()
    best = reached + spared
    ties = np.flatnonzero(best >= best.max() - 1e-12)
    balanced = float(thresholds[ties[len(ties) // 2]])
    out = float(thresholds[reached >= sensitivity].max())
    specific = thresholds[spared >= specificity]
    into = float(specific.min()) if len(specific) else float(thresholds.max())
    sum_of_both = "largest sum of sensitivity and specificity"
    share_of = "{} of at least {:.3g}%" if trust_labels else "expected {} of at least {:.3g}%"
    chosen = {
        "rule_out": (
            min(out, balanced),
            share_of.format("sensitivity", 100 * sensitivity),
            m,
            sensitivity,
        ),
        "balanced": (
            balanced,
            sum_of_both if trust_labels else f"expected {sum_of_both}",
            None,
            None,
        ),
        "rule_in": (
            max(into, balanced),
            share_of.format("specificity", 100 * specificity),
            n,
            specificity,
        ),
    }
    points = {}
    for name, (threshold, target, count, share) in chosen.items():
        if count is not None and share is not None and count < 3 / (1 - share):
            # The rule of three: fewer cases cannot support such a share.
            target += f" ({count} cases are too few to support it)"
        if name == "rule_in" and not len(specific):
            target += " (out of reach)"
        points[name] = OperatingPoint(
            name,
            threshold,
            target,
            float((positives >= threshold).mean()),
            float((negatives < threshold).mean()),
        )
    return points


def _list_cuts(probabilities: Scores) -> Scores:
    """Return the middles of all gaps between observed scores, and the two ends."""
    values = np.unique(probabilities)
    middles = (values[1:] + values[:-1]) / 2
    # Neighbouring floats have no middle; then the upper one is the cut.
    middles = np.where(middles <= values[:-1], values[1:], middles)
    return np.concatenate([[0.0], middles, [min(1.0, np.nextafter(values[-1], 2.0))]])
