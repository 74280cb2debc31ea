"""Labels that are likely wrong, by models that never saw them.

Confident learning (Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels") counts where a judge is sure of the other class. The judge here is fitted without the image
in question, its patient and its copies; the model in the box is no judge, since its network was
trained on such labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pneumoscope.datasets import LABELS
from pneumoscope.evaluation import (
    Interval,
    clustered_auc_interval,
    compute_auc,
    rank_within_folds,
)
from pneumoscope.evidence.audit.probes import assign_folds

#: How cleanlab decides who is a suspect; measured in docs/experiments.md.
FILTER = "prune_by_noise_rate"
#: Whoever the judge is as sure of is a suspect too: of a judge that is sharp everywhere, confident
#: learning asks more sureness than it has where labels are wrong.
SURE = 0.9
#: A judge below this knows too little to doubt anybody's label.
_LEAST_AUC = 0.7


@dataclass(frozen=True)
class Suspect:
    """An image whose label the judge does not believe."""

    path: str
    label: str
    score: float
    """Probability, by the judge, that the label is wrong, 0..1."""


@dataclass(frozen=True)
class Judgement:
    """Suspect labels, and how far the judge is to be trusted."""

    judge: str
    auc: float | None
    """Of the judge, out of fold, against the labels as they are."""
    interval: Interval | None
    judged: int
    suspects: tuple[Suspect, ...]
    """The most suspect first."""
    reason: str | None = None
    """Why no label was judged."""


def make_judge() -> LogisticRegression:
    """Return the audit's own judge: no sharper one was found that is as simple."""
    return LogisticRegression(max_iter=1000)


def judge_out_of_fold(
    description: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.generic],
    *,
    seed: int = 0,
    make: Callable[[], Any] = make_judge,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Return probabilities of pneumonia and the fold that each image was left out of.

    None where there are too few patients for folds.

    Parameters
    ----------
    description
        float32 [N, D], in which no label had a part.
    make
        Makes a classifier of scikit-learn.
    """
    folds = assign_folds(labels, groups, seed)
    if folds is None:
        return None
    probabilities = np.empty(len(labels))
    names = np.unique(folds)
    for done, fold in enumerate(names, start=1):
        inside = folds != fold
        model = make()
        model.fit(description[inside], labels[inside])
        probabilities[~inside] = model.predict_proba(description[~inside])[:, 1]
        if progress:
            progress(done, len(names))
    return probabilities, folds


def find_suspects(
    paths: list[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    groups: NDArray[np.generic],
    judge: str,
    folds: NDArray[np.int64] | None = None,
) -> Judgement:
    """Return the images whose label is likely wrong.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    probabilities
        float64 [N] of pneumonia, out of fold; NaN where an image was not judged.
    judge
        What the probabilities are from, in words.
    folds
        int [N], where the judge is another one in each.
    """
    from cleanlab.filter import find_label_issues

    known = np.flatnonzero(~np.isnan(probabilities))
    given, sick = labels[known], probabilities[known]
    if len(np.unique(given)) < 2:
        reason = "the judged images are all of one class"
        return Judgement(judge, None, None, len(known), (), reason)
    ranked = sick if folds is None else rank_within_folds(sick, folds[known])
    auc, interval = compute_auc(given, ranked), clustered_auc_interval(given, ranked, groups[known])
    assert auc is not None  # there are both classes
    if auc < _LEAST_AUC:
        reason = (
            f"the judge hardly tells the classes apart (AUC {auc:.2f}), and cannot know "
            "whose label is wrong"
        )
        return Judgement(judge, auc, interval, len(known), (), reason)
    both = np.column_stack([1 - sick, sick])
    wrong = 1 - both[np.arange(len(given)), given]
    found = find_label_issues(given, both, filter_by=FILTER, n_jobs=1) | (wrong >= SURE)
    rows = np.flatnonzero(found)
    rows = rows[np.argsort(-wrong[rows], kind="stable")]
    suspects = tuple(
        Suspect(paths[known[row]], LABELS[given[row]], float(wrong[row])) for row in rows
    )
    return Judgement(
        judge,
        auc,
        interval,
        len(known),
        suspects,
    )
