"""Shortcut probes: how well the way an image was made tells its label, without the patient.

A feature alone is given to a small model, and judged on images of other patients by AUC. Where that
is high, a network may have learned the same, and has to be shown to do better than this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold

from pneumoscope.datasets import FEATURES, LABELS, PNEUMONIA, parse_name
from pneumoscope.evaluation import (
    Interval,
    clustered_auc_interval,
    compute_auc,
    rank_within_folds,
)

FOLDS = 5
#: Probe → the features that it sees.
PROBES: Mapping[str, tuple[str, ...]] = {
    "size": ("width", "height"),
    "aspect_ratio": ("aspect_ratio",),
    "jpeg_quality": ("jpeg_quality",),
    "bytes_per_pixel": ("bytes_per_pixel",),
    "mean_intensity": ("mean_intensity",),
    "contrast": ("contrast",),
    "border_darkness": ("border_left", "border_right", "border_top", "border_bottom"),
    "corner_content": (
        "corner_top_left", "corner_top_right", "corner_bottom_left", "corner_bottom_right",
    ),
    "all": tuple(FEATURES),
}  # fmt: skip
#: Fewer patients or copies than this in either class cannot be split into folds that say anything.
MIN_GROUPS = 20


@dataclass(frozen=True)
class Probe:
    """How well some features tell two sorts of images apart; an AUC of 0.5 is not at all."""

    name: str
    auc: float | None
    interval: Interval | None
    reason: str | None = None
    """Why there is no AUC, or why it is one half."""


@dataclass(frozen=True)
class Contrast:
    """Two sorts of images, and how well each probe tells them apart."""

    name: str
    about: str
    """`label`: disease is among what differs. `acquisition`: the label is the same on both sides,
    so that only the way of making images, or who was imaged, differs."""
    positives: int
    negatives: int
    probes: tuple[Probe, ...]


def probe_shortcuts(
    frame: pl.DataFrame,
    features: pl.DataFrame,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Contrast]:
    """Return how well each probe tells PNEUMONIA from NORMAL: of all images, then by source.

    Parameters
    ----------
    frame
        A manifest: label, group, source and path, whose name may tell the acquisition series.
    features
        `datasets.measure_acquisition` of the same rows.
    """
    contrasts = list(_list_contrasts(frame))
    groups = frame["group"].to_numpy()
    values = {name: features.select(columns).to_numpy() for name, columns in PROBES.items()}
    found, done, total = [], 0, len(contrasts) * len(PROBES)
    for name, about, positive, negative in contrasts:
        rows = np.flatnonzero(positive | negative)
        labels = positive[rows].astype(np.int64)
        probes = []
        for probe, matrix in values.items():
            probes.append(run_probe(probe, matrix[rows], labels, groups[rows], seed))
            done += 1
            if progress:
                progress(done, total)
        found.append(Contrast(name, about, int(positive.sum()), int(negative.sum()), tuple(probes)))
    return found


def run_probe(
    name: str,
    matrix: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.generic],
    seed: int,
) -> Probe:
    """Judge features by cross-validation; no group is on both sides of a fold.

    The model is a few shallow boosted trees: relations that rise and fall count, and missing values
    are a value of their own. The interval is that of clustered images, for the given folds.

    Parameters
    ----------
    matrix
        float64 [N, features], NaN where an image has none.
    labels
        int [N], 0 or 1.
    """
    if np.isnan(matrix).all():
        return Probe(name, None, None, "not available: no image has it")
    folds = assign_folds(labels, groups, seed)
    if folds is None:
        return Probe(name, None, None, f"too few: {MIN_GROUPS} patients on each side are needed")
    if (matrix == matrix[0]).all():
        return Probe(name, 0.5, None, "the same in all images")
    scores = np.empty(len(labels))
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        known = ~np.isnan(matrix[inside]).all(0)  # trees cannot bin a column without a value
        if not known.any():
            scores[outside] = 0.0
            continue
        model = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=8,
            min_samples_leaf=int(np.clip(inside.sum() // 20, 3, 20)),
            random_state=seed,
        )
        model.fit(matrix[inside][:, known], labels[inside])
        scores[outside] = model.decision_function(matrix[outside][:, known])
    ranks = rank_within_folds(scores, folds)
    return Probe(name, compute_auc(labels, ranks), clustered_auc_interval(labels, ranks, groups))


def assign_folds(
    labels: NDArray[np.int64], groups: NDArray[np.generic], seed: int
) -> NDArray[np.int64] | None:
    """Return a fold for each image, int [N]: whole groups, stratified; None if they are too few."""
    least = min(len(np.unique(groups[labels == value])) for value in (0, 1))
    if least < MIN_GROUPS:
        return None
    folds = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
        folds[rows] = fold
    return folds


Rows = NDArray[np.bool_]


def _list_contrasts(frame: pl.DataFrame) -> Iterator[tuple[str, str, Rows, Rows]]:
    """Yield name, what it is about, and the rows of either side; all images first."""
    sick = (frame["label"] == PNEUMONIA).to_numpy()
    yield "PNEUMONIA against NORMAL", "label", sick, ~sick
    sources = frame["source"].to_numpy()
    series = np.array([_name_series(path) for path in frame["path"]])
    for name in _list_names(sources):
        inside = sources == name
        if not inside.all() and (inside & sick).any() and (inside & ~sick).any():
            yield f"PNEUMONIA against NORMAL, of {name}", "label", inside & sick, inside & ~sick
    for name in _list_names(series):
        inside = series == name
        # A series of one class is set against all of the other class.
        if (inside & sick).any() != (inside & ~sick).any():
            positive = bool(sick[inside].all())
            other = "NORMAL" if positive else "PNEUMONIA"
            if (inside != (sick == positive)).any():
                yield f"{name} against {other}", "label", inside, sick != positive
    for kind in (sources, series):
        for label in LABELS:
            yield from _compare_within(kind, (frame["label"] == label).to_numpy(), label)


def _compare_within(
    names: NDArray[np.str_], rows: Rows, label: str
) -> Iterator[tuple[str, str, Rows, Rows]]:
    """Yield each sort against the others of the same label; two sorts make one contrast."""
    present = _list_names(names[rows])
    for name in present[:1] if len(present) == 2 else present if len(present) > 2 else ():
        inside = rows & (names == name)
        other = present[1] if len(present) == 2 else "others"
        yield f"{name} against {other}, all {label}", "acquisition", inside, rows & ~inside


def _list_names(names: NDArray[np.str_]) -> list[str]:
    return sorted(set(names.tolist()) - {""})


def _name_series(path: str) -> str:
    parts = parse_name(path)
    return parts.series if parts else ""
