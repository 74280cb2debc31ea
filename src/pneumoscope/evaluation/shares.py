"""Shares of images that were answered in some way, with the interval to quote."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Scores
from pneumoscope.evaluation.intervals import (
    Estimate,
    join_intervals,
    percentile_interval,
    wilson_interval,
)
from pneumoscope.evaluation.resampling import find_clusters, resample

Rows = NDArray[np.bool_]


def estimate_shares(
    shares: Mapping[str, tuple[Rows, Rows]], groups: Groups = None, seed: int = 0
) -> dict[str, Estimate]:
    """Return each share; where patients are known Wilson's interval joined with a bootstrap.

    Parameters
    ----------
    shares
        Name → which images count, and among which, bool [N] each; of none nothing is defined.
    groups
        Patient of each image, None where unknown.
    """
    hits = {name: (counted & among, among) for name, (counted, among) in shares.items()}
    n = len(next(iter(hits.values()))[1]) if hits else 0
    clusters = find_clusters(n, groups)
    drawn: dict[str, Scores] = {}
    if clusters.by_patient:
        drawn = resample(
            clusters,
            lambda weights: {
                name: (weights @ counted) / (weights @ among)
                for name, (counted, among) in hits.items()
            },
            seed=seed,
        )
    found = {}
    for name, (counted, among) in hits.items():
        size = int(among.sum())
        wilson = wilson_interval(int(counted.sum()), size)
        bootstrap = percentile_interval(drawn[name]) if name in drawn and size else None
        value = float(counted.sum() / size) if size else None
        found[name] = Estimate(value, join_intervals([wilson, bootstrap]))
    return found
