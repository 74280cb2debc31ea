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
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from pneumoscope.datasets import LABELS
from pneumoscope.evaluation import (
    Interval,
    clustered_auc_interval,
    compute_auc,
    rank_within_folds,
)
from pneumoscope.evidence.probes import assign_folds

#: How cleanlab decides who is a suspect; measured in docs/experiments.md.
FILTER = "prune_by_noise_rate"


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
    """Why nothing was judged."""


def make_judge(n: int, dimensions: int, seed: int) -> Pipeline:
    """Return a logistic regression in an approximate Gaussian kernel (Williams and Seeger 2001).

    `n` images of so many `dimensions` will be shown to it. As sharp as a support vector machine
    there, with time that grows with `n` and not its square.
    """
    return make_pipeline(
        PCA(min(200, n - 1, dimensions), svd_solver="randomized", random_state=seed),
        Nystroem(gamma=0.1, n_components=min(800, n), random_state=seed),
        LogisticRegression(C=10, max_iter=500),
    )


def judge_out_of_fold(
    description: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.generic],
    *,
    seed: int = 0,
    make: Callable[[int, int, int], Any] = make_judge,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Return probabilities of pneumonia and the fold that each image was left out of.

    None where there are too few patients for folds.

    Parameters
    ----------
    description
        float32 [N, D], in which no label had a part.
    make
        (images, dimensions, seed) → a classifier of scikit-learn.
    """
    folds = assign_folds(labels, groups, seed)
    if folds is None:
        return None
    probabilities = np.empty(len(labels))
    names = np.unique(folds)
    for done, fold in enumerate(names, start=1):
        inside = folds != fold
        model = make(int(inside.sum()), description.shape[1], seed)
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
    both = np.column_stack([1 - sick, sick])
    rows = find_label_issues(
        given, both, return_indices_ranked_by="self_confidence", filter_by=FILTER, n_jobs=1
    )
    suspects = tuple(
        Suspect(paths[known[row]], LABELS[given[row]], float(1 - both[row, given[row]]))
        for row in rows
    )
    return Judgement(
        judge,
        compute_auc(given, ranked),
        clustered_auc_interval(given, ranked, groups[known]),
        len(known),
        suspects,
    )
