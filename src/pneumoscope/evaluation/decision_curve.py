"""Decision-curve analysis: is acting on the model better than treating all, or none?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.intervals import LEVEL
from pneumoscope.evaluation.resampling import find_clusters, resample

#: Threshold probabilities that are looked at, 1 % to 99 %.
THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit, in true positives a person, at each threshold probability; float [K] each."""

    thresholds: Scores
    model: Scores
    low: Scores
    high: Scores
    treat_all: Scores
    share: float
    """Share of pneumonias in the sample, at which all of this holds."""

    @property
    def treat_none(self) -> Scores:
        """Zero everywhere, by definition."""
        return np.zeros_like(self.thresholds)

    def to_columns(self) -> dict[str, Scores]:
        """Return the columns of `decision_curve.csv`."""
        return {
            "threshold": self.thresholds,
            "net_benefit": self.model,
            "low": self.low,
            "high": self.high,
            "treat_all": self.treat_all,
            "treat_none": self.treat_none,
        }

    def find_useful_range(self) -> tuple[float, float] | None:
        """Return the thresholds between which the model's lower band beats both simple ways.

        The longest unbroken run; None where there is none.
        """
        better = self.low > np.maximum(self.treat_all, 0)
        edges = np.flatnonzero(np.diff(np.r_[False, better, False].astype(int)))
        if not len(edges):
            return None
        runs = edges.reshape(-1, 2)
        start, stop = runs[np.argmax(runs[:, 1] - runs[:, 0])]
        return float(self.thresholds[start]), float(self.thresholds[stop - 1])


def compute_decision_curve(
    labels: Labels,
    probabilities: Scores,
    groups: Groups = None,
    thresholds: Scores = THRESHOLDS,
    seed: int = 0,
) -> DecisionCurve:
    """Return the net benefit over threshold probabilities (Vickers & Elkin 2006).

    The threshold probability says how many false alarms a found pneumonia is worth: at 20 %, four.
    Net benefit is true positives minus false positives at that rate, a person. The band is the
    middle 95 % of a patient bootstrap. Probabilities must be calibrated to mean anything here.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    probabilities
        float [N], 0..1.
    thresholds
        float [K], each above 0 and below 1.
    """
    called = probabilities[:, None] >= thresholds[None, :]
    price = thresholds / (1 - thresholds)
    # What each image adds to the net benefit at each threshold.
    worth = called * np.where(labels[:, None] == 1, 1.0, -price[None, :])

    def measure(weights: Scores) -> dict[str, Scores]:
        return {"benefit": weights @ worth / weights.sum(1, keepdims=True)}

    resampled = resample(find_clusters(len(labels), groups), measure, seed=seed)["benefit"]
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    share = float((labels == 1).mean())
    return DecisionCurve(thresholds, worth.mean(0), low, high, share - (1 - share) * price, share)
