"""What an answer means where another share of people is sick than in the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.intervals import (
    Interval,
    Z,
    join_intervals,
    percentile_interval,
    wilson_interval,
)
from pneumoscope.evaluation.metrics import count_answers, count_weighted
from pneumoscope.evaluation.resampling import Clusters, find_clusters, resample

#: Shares of pneumonia that are looked at where none is named.
PREVALENCES = (0.05, 0.2, 0.5)


@dataclass(frozen=True)
class AtPrevalence:
    """What happens to 1,000 people of whom this share is sick; None where it is unknown."""

    prevalence: float
    ppv: float | None
    """Of those called PNEUMONIA, the share that has it."""
    npv: float | None
    """Of those called NORMAL, the share that is."""
    missed: float | None
    """Sick people of 1,000 who are called NORMAL."""
    flagged_in_vain: float | None
    """Healthy people of 1,000 who are called PNEUMONIA."""
    intervals: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        return {
            "prevalence": self.prevalence,
            "sick": 1000 * self.prevalence,
            "ppv": self.ppv,
            "npv": self.npv,
            "missed": self.missed,
            "flagged_in_vain": self.flagged_in_vain,
            "intervals": {name: i.to_list() for name, i in self.intervals.items()},
        }


def project_to_prevalences(
    labels: Labels,
    called: NDArray[np.bool_],
    prevalences: Sequence[float] = PREVALENCES,
    groups: Groups = None,
    seed: int = 0,
) -> list[AtPrevalence]:
    """Carry sensitivity and specificity over to other shares of disease, by Bayes' rule.

    Both are taken to be the same there, which holds for people like those of the sample only.
    Intervals are the wider of the patient bootstrap's and a formula's: Wilson's for counts, the
    adjusted logit interval for predictive values (Mercaldo, Lau & Zhou 2007), which keeps its
    width where no error was seen.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    called
        bool [N], True where PNEUMONIA was called.
    prevalences
        Shares of pneumonia, each between 0 and 1.
    """
    tn, fp, fn, tp = count_answers(labels, called)
    clusters = find_clusters(len(labels), groups)
    rates = _resample_rates(labels, called, clusters, seed)
    sensitivity, specificity = _divide(tp, tp + fn), _divide(tn, tn + fp)
    found = []
    for share in prevalences:
        values = _apply_bayes(np.float64(sensitivity), np.float64(specificity), share)
        resampled = _apply_bayes(rates["sensitivity"], rates["specificity"], share)
        formulas = _find_intervals(tp, tp + fn, tn, tn + fp, share)
        intervals = {
            name: interval
            for name in values
            if np.isfinite(values[name])
            and (interval := join_intervals([formulas[name], percentile_interval(resampled[name])]))
        }
        numbers = {k: float(v) if np.isfinite(v) else None for k, v in values.items()}
        found.append(AtPrevalence(share, **numbers, intervals=intervals))
    return found


def _resample_rates(
    labels: Labels, called: NDArray[np.bool_], clusters: Clusters, seed: int
) -> dict[str, Scores]:
    def measure(weights: Scores) -> dict[str, Scores]:
        tn, fp, fn, tp = count_weighted(labels, called, weights)
        return {"sensitivity": tp / (tp + fn), "specificity": tn / (tn + fp)}

    return resample(clusters, measure, seed=seed)


def _apply_bayes(sensitivity: Any, specificity: Any, share: float) -> dict[str, Any]:
    """Return predictive values, and counts in 1,000 people."""
    found, missed = sensitivity * share, (1 - sensitivity) * share
    cleared, alarmed = specificity * (1 - share), (1 - specificity) * (1 - share)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "ppv": found / (found + alarmed),
            "npv": cleared / (cleared + missed),
            "missed": 1000 * missed,
            "flagged_in_vain": 1000 * alarmed,
        }


def _find_intervals(
    tp: int, sick: int, tn: int, well: int, share: float
) -> dict[str, Interval | None]:
    """Return the intervals of formulas for independent images."""
    found: dict[str, Interval | None] = {"ppv": None, "npv": None}
    if sick and well:
        found |= _find_logit_intervals(tp, sick, tn, well, share)
    sensitivity, specificity = wilson_interval(tp, sick), wilson_interval(tn, well)
    found["missed"] = _count_errors(sensitivity, 1000 * share)
    found["flagged_in_vain"] = _count_errors(specificity, 1000 * (1 - share))
    return found


def _count_errors(rate: Interval | None, people: float) -> Interval | None:
    """Return how many of these people are answered wrongly, from the rate of right answers."""
    return rate and Interval(people * (1 - rate.high), people * (1 - rate.low))


def _find_logit_intervals(
    tp: int, sick: int, tn: int, well: int, share: float
) -> dict[str, Interval | None]:
    """Return the adjusted logit intervals of both predictive values (Mercaldo et al. 2007)."""
    # Half of z² successes and failures are added, as Agresti and Coull do for proportions.
    sick_all, well_all = sick + Z**2, well + Z**2
    se, sp = (tp + Z**2 / 2) / sick_all, (tn + Z**2 / 2) / well_all
    odds = share / (1 - share)
    centres = {"ppv": se / (1 - sp) * odds, "npv": sp / (1 - se) / odds}
    variances = {
        "ppv": (1 - se) / se / sick_all + sp / (1 - sp) / well_all,
        "npv": se / (1 - se) / sick_all + (1 - sp) / sp / well_all,
    }
    found: dict[str, Interval | None] = {}
    for name, centre in centres.items():
        factor = np.exp(Z * np.sqrt(variances[name]))
        low, high = centre / factor, centre * factor
        found[name] = Interval(float(low / (1 + low)), float(high / (1 + high)))
    return found


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
