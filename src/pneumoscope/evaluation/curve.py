"""Numbers over the whole curve: what every threshold gives, and bands about the drawn curves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.intervals import LEVEL, wilson_interval
from pneumoscope.evaluation.metrics import count_answers
from pneumoscope.evaluation.ranking import Ranking
from pneumoscope.evaluation.resampling import find_clusters, iterate_resamples


class Band(NamedTuple):
    """The middle 95 % of resampled curves, each float [K]."""

    x: Scores
    low: Scores
    high: Scores


def tabulate_thresholds(
    labels: Labels, probabilities: Scores, most: int = 200
) -> list[dict[str, float | int | None]]:
    """Return one row a threshold, rising, with counts, rates, Wilson intervals and PPV and NPV.

    Thresholds are the observed scores; of more than `most`, these are taken at even ranks, with
    both ends. PPV and NPV are those at the sample's own share of pneumonias.
    """
    cuts = np.unique(probabilities)
    if len(cuts) > most:
        cuts = cuts[np.linspace(0, len(cuts) - 1, most).round().astype(int)]
    return [_describe(labels, probabilities, float(cut)) for cut in cuts]


def _describe(labels: Labels, probabilities: Scores, cut: float) -> dict[str, float | int | None]:
    tn, fp, fn, tp = count_answers(labels, probabilities >= cut)
    row: dict[str, float | int | None] = {
        "threshold": cut, "tp": tp, "fn": fn, "fp": fp, "tn": tn
    }  # fmt: skip
    pairs = {"sensitivity": (tp, fn), "specificity": (tn, fp), "ppv": (tp, fp), "npv": (tn, fn)}
    for name, (right, wrong) in pairs.items():
        interval = wilson_interval(right, right + wrong)
        row[name] = right / (right + wrong) if interval else None
        row[f"{name}_low"] = interval.low if interval else None
        row[f"{name}_high"] = interval.high if interval else None
    return row


def band_roc(labels: Labels, scores: Scores, groups: Groups = None, points: int = 101) -> Band:
    """Return the band of the sensitivity at each 1 - specificity, from a patient bootstrap."""
    grid = np.linspace(0, 1, points)
    curves = []
    for hits, false in _resample_curves(labels, scores, groups):
        # Where the curve rises straight up, its upper end counts.
        across, up = false / false[-1], hits / hits[-1]
        last = np.flatnonzero(np.r_[np.diff(across) > 0, True])
        curves.append(np.interp(grid, across[last], up[last]))
    return _find_band(grid, curves)


def band_precision_recall(
    labels: Labels, scores: Scores, groups: Groups = None, points: int = 101
) -> Band:
    """Return the band of the precision at each recall, from a patient bootstrap."""
    grid = np.linspace(0, 1, points)[1:]
    curves = []
    for hits, false in _resample_curves(labels, scores, groups):
        first = np.searchsorted(hits / hits[-1], grid - 1e-12)
        curves.append(hits[first] / (hits[first] + false[first]))
    return _find_band(grid, curves)


def _resample_curves(
    labels: Labels, scores: Scores, groups: Groups
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return true and false positives as the threshold falls, of resamples with both classes."""
    ranking = Ranking(labels, scores)
    pairs = []
    for weights in iterate_resamples(find_clusters(len(labels), groups)):
        for hits, false in zip(*ranking.cumulate(weights), strict=True):
            if hits[-1] and false[-1]:
                pairs.append((hits, false))
    return pairs


def _find_band(grid: Scores, curves: list[Scores]) -> Band:
    low, high = np.quantile(np.stack(curves), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Band(grid, low, high)
