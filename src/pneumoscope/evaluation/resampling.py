"""The bootstrap over patients: images of one patient are drawn together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Scores

RESAMPLES = 1000
#: Weights held in memory at a time, 16 MB.
_CHUNK = 2_000_000


@dataclass(frozen=True)
class Clusters:
    """Which images belong together."""

    member: NDArray[np.int64]
    """int [N], the cluster of each image: its patient, or itself where that is unknown."""
    count: int
    by_patient: bool
    """Whether any patient is known."""

    @property
    def unit(self) -> str:
        """What is drawn."""
        return "patient" if self.by_patient else "image"


def find_clusters(n: int, groups: Groups = None) -> Clusters:
    """Return the clusters of `n` images; an image of an unknown patient stands for itself."""
    known = groups is not None and any(group is not None for group in groups)
    # Pairs, so that a patient may have any name.
    names = [f"0 {i}" if g is None else f"1 {g}" for i, g in enumerate(groups or [None] * n)]
    _, member = np.unique(names, return_inverse=True)
    return Clusters(member.astype(np.int64), int(member.max()) + 1 if n else 0, known)


def iterate_resamples(
    clusters: Clusters, *, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[Scores]:
    """Yield weights, float [R, N]: how often each image occurs in each of R resamples.

    Clusters are drawn with replacement (Field & Welsh 2007). The same seed gives the same
    resamples, so that two models, or two numbers of one, are compared on the same draws.
    """
    generator = np.random.default_rng(seed)
    n, size = len(clusters.member), clusters.count
    rows = max(1, _CHUNK // max(n, 1))
    for start in range(0, resamples if n else 0, rows):
        height = min(rows, resamples - start)
        drawn = generator.integers(0, size, (height, size)) + size * np.arange(height)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=height * size).reshape(height, size)
        yield counts.astype(np.float64)[:, clusters.member]


def resample(
    clusters: Clusters,
    measure: Callable[[Scores], Mapping[str, Scores]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Scores]:
    """Return each number in every resample; `measure` maps weights [R, N] to values [R, ...].

    Division by nothing is no news here: it gives NaN or infinity, which intervals handle.
    """
    parts: dict[str, list[Scores]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for weights in iterate_resamples(clusters, resamples=resamples, seed=seed):
            for name, values in measure(weights).items():
                parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}
