"""`data audit`: what a sceptical reviewer asks of labelled images before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from pneumoscope._files import rebuild_folder, write_atomically
from pneumoscope.datasets import (
    MEASURED,
    CollectionOptions,
    build_manifest,
    count_straddling,
    list_duplicates,
    load_pixels,
    measure_acquisition,
    open_collection,
    read_labels,
)
from pneumoscope.evidence.audit.descriptions import describe_shapes
from pneumoscope.evidence.audit.drift import compare_splits
from pneumoscope.evidence.audit.findings import Audit
from pneumoscope.evidence.audit.page import write_page
from pneumoscope.evidence.audit.predictions_file import read_predictions
from pneumoscope.evidence.audit.probes import probe_shortcuts
from pneumoscope.evidence.audit.record import to_json
from pneumoscope.evidence.audit.suspects import Judgement, find_suspects, judge_out_of_fold
from pneumoscope.evidence.folder import check_out

AUDIT_FILES = frozenset({"audit.json", "audit.html"})
_OWN_JUDGE = (
    "the audit's own judge: histograms of oriented gradients, in which no label had a part, and a "
    "logistic regression"
)
_COMPONENTS = 20

Stages = Callable[[str, int, int], None]


def audit_collection(
    data: Path,
    out: Path,
    *,
    options: CollectionOptions | None = None,
    predictions: Path | None = None,
    seed: int = 0,
    progress: Stages | None = None,
) -> Audit:
    """Audit labelled images, and write `audit.json` and `audit.html`.

    Parameters
    ----------
    predictions
        A CSV of out-of-fold predictions that judge the labels in place of the audit's own judge.

    Raises
    ------
    DataError
        No layout is recognised, there is one class only, no image is readable, the predictions do
        not fit, or `out` holds other things.
    """
    check_out(out, AUDIT_FILES)

    def tell(title: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(title, done, total) if progress else None

    collection = open_collection(data, options, progress=tell("Unpacking"))
    manifest = build_manifest(collection, progress=tell("Reading images"))
    frame = manifest.frame
    brought = read_predictions(predictions, frame["path"].to_list()) if predictions else None
    squares = load_pixels(frame, MEASURED, progress=tell("Shrinking images"))
    features = measure_acquisition(frame, squares, progress=tell("Measuring images"))
    contrasts = probe_shortcuts(frame, features, seed=seed, progress=tell("Probing shortcuts"))
    description = describe_shapes(squares, progress=tell("Describing images"))
    labels = read_labels(frame)
    groups = frame["group"].to_numpy()
    if brought is not None:
        assert predictions is not None
        judge = f"predictions from {predictions.name}, taken at their word to be out of fold"
        judgement = find_suspects(
            frame["path"].to_list(), labels, brought.probabilities, groups, judge
        )
    else:
        judgement = _judge(frame["path"].to_list(), description, labels, groups, seed, tell)
    drift = compare_splits(
        frame,
        features,
        _find_components(description, seed),
        seed=seed,
        progress=tell("Comparing splits"),
    )
    audit = Audit(
        collection,
        manifest,
        tuple(list_duplicates(manifest)),
        count_straddling(frame),
        tuple(contrasts),
        judgement,
        tuple(drift),
        features,
        (*collection.notes, *manifest.notes, *(brought.notes if brought else ())),
        seed,
    )
    with rebuild_folder(out, AUDIT_FILES, last="audit.json") as staging:
        write_page(staging / "audit.html", audit, progress=tell("Drawing"))
        write_atomically(staging / "audit.json", json.dumps(to_json(audit), indent=1) + "\n")
    return audit


def _judge(
    paths: list[str],
    description: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.generic],
    seed: int,
    tell: Callable[[str], Callable[[int, int], None]],
) -> Judgement:
    answered = judge_out_of_fold(
        description, labels, groups, seed=seed, progress=tell("Judging labels")
    )
    if answered is None:
        reason = "too few patients of each class to judge labels by models that never saw them"
        return Judgement(_OWN_JUDGE, None, None, 0, (), reason)
    return find_suspects(paths, labels, answered[0], groups, _OWN_JUDGE, answered[1])


def _find_components(description: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    n = min(_COMPONENTS, *(side - 1 for side in description.shape))
    if n < 1:  # a single image
        return np.zeros((len(description), 1))
    pca = PCA(n, svd_solver="randomized", random_state=seed)
    components: NDArray[np.float64] = pca.fit_transform(description).astype(np.float64)
    return components
