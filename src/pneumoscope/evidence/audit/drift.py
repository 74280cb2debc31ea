"""Acquisition drift: whether the parts of a split were made alike.

A classifier is asked to tell training images from those of another part, within one label, so that
a different share of pneumonias does not count (Lopez-Paz and Oquab 2017, "Revisiting Classifier
Two-Sample Tests"). AUC 0.5 is what images of one batch give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from pneumoscope.datasets import FEATURES, LABELS
from pneumoscope.evidence.audit.probes import PROBES, Probe, run_probe

#: The lower bound from which two parts are said to differ. Bounds of a cross-validated AUC are
#: narrower than they should be: of parts that are alike, a tenth had one above 0.5.
SURE_AUC = 0.55


@dataclass(frozen=True)
class Drift:
    """How the images of one label differ between training and another part."""

    split: str
    label: str
    train: int
    other: int
    acquisition: Probe
    """Of all acquisition features together."""
    appearance: Probe
    """Of the image itself, in numbers that no label had a part in."""
    distances: dict[str, float | None]
    """Feature → Kolmogorov-Smirnov distance, 0 (alike) to 1; None where it is not available."""

    @property
    def told_apart(self) -> list[Probe]:
        """Return the probes that surely tell the two parts apart."""
        both = (self.acquisition, self.appearance)
        return [p for p in both if p.interval is not None and p.interval.low > SURE_AUC]

    def describe(self) -> str:
        """Say in a sentence what this means for a result."""
        where = f"{self.label} images of train and {self.split}"
        if self.appearance.auc is None:
            return f"Whether the {where} were made alike cannot be told: {self.appearance.reason}."
        if not self.told_apart:
            return (
                f"The {where} cannot be told apart: a result on {self.split} speaks for images of "
                "the same kind, and says little about another machine, time or hospital."
            )
        most = max(p.auc for p in self.told_apart if p.auc is not None)
        return (
            f"The {where} can be told apart (AUC up to {most:.2f}): they were not made alike, so a "
            f"threshold chosen on one may not fit the other, and a result on {self.split} is also "
            "a test of that change."
        )


def compare_splits(
    frame: pl.DataFrame,
    features: pl.DataFrame,
    components: NDArray[np.float64],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Drift]:
    """Return the drift between train and each other part that the manifest has, label by label.

    Parameters
    ----------
    components
        float64 [N, k], a description of the images that no label had a part in.
    """
    parts = [name for name in ("val", "test") if (frame["split"] == name).any()]
    if not (frame["split"] == "train").any():
        return []
    jobs = [(split, label) for split in parts for label in LABELS]
    found = []
    for done, (split, label) in enumerate(jobs, start=1):
        found.append(_compare(frame, features, components, split, label, seed))
        if progress:
            progress(done, len(jobs))
    return found


def _compare(
    frame: pl.DataFrame,
    features: pl.DataFrame,
    components: NDArray[np.float64],
    split: str,
    label: str,
    seed: int,
) -> Drift:
    inside = (frame["label"] == label) & frame["split"].is_in(["train", split])
    rows = np.flatnonzero(inside.fill_null(False).to_numpy())
    other = (frame["split"][rows] == split).to_numpy()
    groups = frame["group"][rows].to_numpy()
    values = {name: features[name][rows].to_numpy() for name in FEATURES}

    def probe(name: str, matrix: NDArray[np.float64]) -> Probe:
        return run_probe(name, matrix, other.astype(np.int64), groups, seed)

    return Drift(
        split,
        label,
        int((~other).sum()),
        int(other.sum()),
        probe("acquisition", np.column_stack([values[name] for name in PROBES["all"]])),
        probe("appearance", components[rows]),
        {name: _measure_distance(column, other) for name, column in values.items()},
    )


def _measure_distance(values: NDArray[np.float64], other: NDArray[np.bool_]) -> float | None:
    known = ~np.isnan(values)
    one, two = values[known & ~other], values[known & other]
    return float(ks_2samp(one, two, method="asymp").statistic) if len(one) and len(two) else None
