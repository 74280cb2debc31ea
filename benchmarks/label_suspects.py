"""How many planted wrong labels the audit's judge finds, and how many suspects are none.

PNEUMOSCOPE_DATA=shared/data/chest_xray python benchmarks/label_suspects.py --share 0.01 --seeds 3
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pneumoscope.datasets import (
    MEASURED,
    build_manifest,
    load_pixels,
    open_collection,
    read_labels,
)
from pneumoscope.evaluation import compute_auc
from pneumoscope.evidence.audit.descriptions import describe_shapes
from pneumoscope.evidence.audit.suspects import judge_out_of_fold, make_judge

FILTERS = ("prune_by_noise_rate", "confident_learning", "predicted_neq_given")
#: A filter of cleanlab's, and from which score on an image is a suspect whatever it says.
RULES = [(name, None) for name in FILTERS] + [(FILTERS[0], sure) for sure in (0.95, 0.9, 0.8)]


def shrink(squares: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return thumbnails of mean 0 and deviation 1, float32 [N, side * side]."""
    step = squares.shape[1] // side
    grey = squares.astype(np.float32).reshape(len(squares), side, step, side, step).mean((2, 4))
    flat = grey.reshape(len(grey), -1)
    return (flat - flat.mean(1, keepdims=True)) / (flat.std(1, keepdims=True) + 1e-3)


def _pipe(components: int, *steps: object) -> object:
    return make_pipeline(PCA(components, svd_solver="randomized", random_state=0), *steps)


JUDGES: dict[str, tuple[str, Callable[[], object]]] = {
    "thumbnail 16, PCA 50, linear": (
        "thumbnail",
        lambda: _pipe(50, StandardScaler(), LogisticRegression(max_iter=500)),
    ),
    "gradients, PCA 50, boosted trees": (
        "gradients",
        lambda: _pipe(
            50, HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0)
        ),
    ),
    "gradients, PCA 200, Gaussian kernel": (
        "gradients",
        lambda: _pipe(
            200,
            Nystroem(gamma=0.1, n_components=800, random_state=0),
            LogisticRegression(C=10, max_iter=500),
        ),
    ),
    "gradients, linear (shipped)": ("gradients", make_judge),
}


def main() -> None:
    """Print AUC, recall and precision of each judge and filter, the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--judges", default="", help="only those whose name holds this")
    arguments = parser.parse_args()
    frame = build_manifest(open_collection(os.environ["PNEUMOSCOPE_DATA"])).frame
    squares = load_pixels(frame, MEASURED)
    described = {"thumbnail": shrink(squares, 16), "gradients": describe_shapes(squares)}
    labels = read_labels(frame)
    groups = frame["group"].to_numpy()
    n = round(arguments.share * len(labels))
    print(f"{len(labels)} images, {n} labels turned over, {arguments.seeds} seeds")
    for name, (kind, make) in JUDGES.items():
        if arguments.judges not in name:
            continue
        rows = []
        for seed in range(arguments.seeds):
            turned = np.zeros(len(labels), bool)
            turned[np.random.default_rng(seed).choice(len(labels), n, replace=False)] = True
            given = np.where(turned, 1 - labels, labels)
            start = time.perf_counter()
            answered = judge_out_of_fold(described[kind], given, groups, seed=seed, make=make)
            seconds = time.perf_counter() - start
            assert answered is not None
            both = np.column_stack([1 - answered[0], answered[0]])
            row = [seconds, compute_auc(given, answered[0]), compute_auc(labels, answered[0])]
            wrong = 1 - both[np.arange(len(given)), given]
            for rule, sure in RULES:
                found = find_label_issues(given, both, filter_by=rule, n_jobs=1)
                found |= wrong >= (sure or 2)
                row += [
                    found.sum(),
                    (found & turned).sum() / n,
                    (found & turned).sum() / found.sum(),
                ]
            rows.append(row)
        mean = np.mean(rows, 0)
        print(f"{name}: {mean[0]:.0f} s, AUC {mean[1]:.3f}, against the right labels {mean[2]:.3f}")
        for place, (rule, sure) in enumerate(RULES):
            count, recall, precision = mean[3 + 3 * place : 6 + 3 * place]
            told = f"{rule}, or sure by {sure}" if sure else rule
            print(f"  {told:36} {count:6.1f}, recall {recall:.2f}, precision {precision:.2f}")


if __name__ == "__main__":
    main()
