"""`data audit`: what a sceptical reviewer asks of labelled images before anything is trained."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from pneumoscope import __version__
from pneumoscope._files import write_atomically
from pneumoscope.datasets import (
    LABELS,
    MEASURED,
    PNEUMONIA,
    Collection,
    CollectionOptions,
    DuplicatePair,
    Manifest,
    build_manifest,
    count_images,
    count_straddling,
    find_leakage,
    list_duplicates,
    load_pixels,
    measure_acquisition,
    open_collection,
)
from pneumoscope.evidence.descriptions import describe_shapes
from pneumoscope.evidence.drift import Drift, compare_splits
from pneumoscope.evidence.evaluation import check_out
from pneumoscope.evidence.predictions_file import read_predictions
from pneumoscope.evidence.probes import Contrast, probe_shortcuts
from pneumoscope.evidence.suspects import Judgement, find_suspects, judge_out_of_fold

AUDIT_SCHEMA = 1
AUDIT_FILES = frozenset({"audit.json", "audit.html"})
#: A feature that surely tells the labels apart better than this is pointed out.
SHORTCUT_AUC = 0.6
_OWN_JUDGE = (
    "the audit's own judge: histograms of oriented gradients, in which no label had a part, and a "
    "logistic regression"
)
_COMPONENTS = 20
#: Fewer images of a class than this in validation or test make wide intervals.
_FEW = 50

Stages = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Audit:
    """All that an audit found."""

    collection: Collection
    manifest: Manifest
    duplicates: tuple[DuplicatePair, ...]
    straddling: dict[str, dict[str, int]]
    """Patient → split → images, of those in more than one split."""
    contrasts: tuple[Contrast, ...]
    """How well acquisition alone tells images apart; PNEUMONIA against NORMAL first."""
    judgement: Judgement
    drift: tuple[Drift, ...]
    features: Any
    """`datasets.measure_acquisition`, a table with one row an image."""
    notes: tuple[str, ...]
    seed: int

    @property
    def reasons(self) -> list[str]:
        """What makes a result from these splits invalid, in sentences; empty where nothing."""
        leakage = find_leakage(self.manifest.frame)
        return [leakage.describe()] if leakage else []

    @property
    def unreadable(self) -> list[str]:
        """Paths of images that could not be used, whether on disk or named in a table."""
        left_out = (*self.collection.skipped, *self.manifest.excluded)
        return [entry.path for entry in left_out if entry.is_image]

    @property
    def cautions(self) -> list[str]:
        """What limits a result without making it invalid, a sentence each."""
        return [
            *_caution_files(self),
            *_caution_duplicates(self),
            *_caution_balance(self),
            *_caution_shortcuts(self),
            *_caution_labels(self),
            *(part.describe() for part in self.drift if part.told_apart),
        ]


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
    from pneumoscope.evidence.audit_page import write_page

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
    labels = (frame["label"] == PNEUMONIA).to_numpy().astype(np.int64)
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
    write_atomically(out / "audit.json", json.dumps(to_json(audit), indent=1) + "\n")
    write_page(out / "audit.html", audit, progress=tell("Drawing"))
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


# -- what to be careful about -------------------------------------------------------------------


def _caution_files(audit: Audit) -> list[str]:
    said = []
    if n := len(audit.unreadable):
        what = "1 image could" if n == 1 else f"{n} images could"
        said.append(f"{what} not be used, and any result leaves them out.")
    frame = audit.manifest.frame
    if unknown := frame["patient"].null_count():
        who = (
            "No image names its patient"
            if unknown == frame.height
            else (f"{unknown} of {frame.height} images name no patient")
        )
        said.append(f"{who}: whether a patient straddles splits cannot be told for these.")
    if (frame["source"] == "phantom").any():
        said.append("These are synthetic phantoms: for demonstrations and tests only.")
    return said


def _caution_duplicates(audit: Audit) -> list[str]:
    said = []
    kinds = Counter(pair.kind.value for pair in audit.duplicates)
    if audit.duplicates:
        said.append(
            f"There are {kinds['exact']} exact and {kinds['near']} near-identical pairs of images: "
            "they count twice, and must stay on one side of any split."
        )
    if n := sum(pair.across_labels for pair in audit.duplicates):
        what = "1 of these pairs carries" if n == 1 else f"{n} of these pairs carry"
        said.append(f"{what} both labels: at least one label of each is wrong.")
    return said


def _caution_balance(audit: Audit) -> list[str]:
    counts = count_images(audit.manifest.frame)
    said = []
    for split in ("val", "test"):
        numbers = counts[split]
        if sum(numbers.values()) and min(numbers.values()) < _FEW:
            told = " and ".join(f"{numbers[label]} {label}" for label in LABELS)
            use = "to choose a threshold" if split == "val" else "for a narrow interval"
            said.append(f"The split {split} has {told} images: too few {use}.")
    return said


def _caution_shortcuts(audit: Audit) -> list[str]:
    strong = [
        probe
        for probe in audit.contrasts[0].probes
        if probe.auc is not None and probe.interval and probe.interval.low > SHORTCUT_AUC
    ]
    alone = sorted((p for p in strong if p.name != "all"), key=lambda p: p.auc or 0.0, reverse=True)
    if not alone:
        return [
            f"All acquisition features together tell the labels apart with AUC {probe.auc:.2f}."
            for probe in strong
        ]
    listed = ", ".join(f"{say_name(p.name)} {p.auc:.2f}" for p in alone[:4])
    return [
        f"How an image was made tells its label without a look at the lungs (AUC of {listed}): a "
        "model has to be shown to do better than that, and not by the same means."
    ]


def _caution_labels(audit: Audit) -> list[str]:
    n, auc = len(audit.judgement.suspects), audit.judgement.auc
    if not n or auc is None:
        return []
    what = "1 label is" if n == 1 else f"{n} labels are"
    return [
        f"{what} suspect ({n / audit.judgement.judged:.1%} of those judged, by a judge whose AUC "
        f"is {auc:.2f}): have a reader look at them, without being told the label."
    ]


def say_name(name: str) -> str:
    """Return a probe's or feature's name in words."""
    return {"jpeg_quality": "JPEG quality", "all": "all together"}.get(name, name.replace("_", " "))


# -- audit.json -----------------------------------------------------------------------------------


def to_json(audit: Audit) -> dict[str, Any]:
    """Return what `audit.json` holds; docs/reference/audit.md states it."""
    frame = audit.manifest.frame
    left_out = (*audit.collection.skipped, *audit.manifest.excluded)
    reasons = audit.reasons
    return {
        "images": frame.height,
        "unreadable": audit.unreadable,
        "duplicates": [dataclasses.asdict(pair) for pair in audit.duplicates],
        "patients_across_splits": list(audit.straddling),
        "suspect_labels": [dataclasses.asdict(suspect) for suspect in audit.judgement.suspects],
        "shortcuts": {probe.name: probe.auc for probe in audit.contrasts[0].probes},
        "schema": AUDIT_SCHEMA,
        "usable": not reasons,
        "reasons": reasons,
        "cautions": audit.cautions,
        "flow": count_flow(audit),
        "left_out": [dataclasses.asdict(entry) for entry in left_out],
        "splits": count_splits(audit),
        "patients": {
            "known": frame["patient"].drop_nulls().n_unique(),
            "images_without": frame["patient"].null_count(),
            "across_splits": audit.straddling,
        },
        "judge": {
            "name": audit.judgement.judge,
            "auc": audit.judgement.auc,
            "interval": _list_bounds(audit.judgement.interval),
            "judged": audit.judgement.judged,
            "reason": audit.judgement.reason,
        },
        "shortcut_contrasts": [_describe_contrast(contrast) for contrast in audit.contrasts],
        "drift": [_describe_drift(part) for part in audit.drift],
        "root": str(audit.collection.root),
        "layout": audit.collection.layout.value,
        "notes": list(audit.notes),
        "seed": audit.seed,
        "pneumoscope": __version__,
        "intended_use": "Research use, not a diagnosis.",
    }


def count_flow(audit: Audit) -> dict[str, int]:
    """Return how many files were found, were left out and why, and are used."""
    skipped = audit.collection.skipped
    no_images = sum(not entry.is_image for entry in skipped)
    incomplete = len(skipped) - no_images
    damaged = len(audit.manifest.excluded)
    used = audit.manifest.frame.height
    return {
        "found": used + damaged + incomplete + no_images,
        "no_images_by_name": no_images,
        "missing_or_without_label": incomplete,
        "unreadable": damaged,
        "used": used,
    }


def count_splits(audit: Audit) -> dict[str, dict[str, int]]:
    """Return split → label → images, of the splits that are there; `none` where there is none."""
    frame = audit.manifest.frame
    counts = {
        split: numbers for split, numbers in count_images(frame).items() if sum(numbers.values())
    }
    rest = frame.filter(frame["split"].is_null())
    if rest.height:
        counts["none"] = {label: int((rest["label"] == label).sum()) for label in LABELS}
    return counts


def _describe_contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "name": contrast.name,
        "about": contrast.about,
        "positives": contrast.positives,
        "negatives": contrast.negatives,
        "probes": {probe.name: _describe_probe(probe) for probe in contrast.probes},
    }


def _describe_drift(part: Drift) -> dict[str, Any]:
    return {
        "split": part.split,
        "label": part.label,
        "train_images": part.train,
        "other_images": part.other,
        "acquisition": _describe_probe(part.acquisition),
        "appearance": _describe_probe(part.appearance),
        "ks_distance": part.distances,
        "meaning": part.describe(),
    }


def _describe_probe(probe: Any) -> dict[str, Any]:
    return {
        "auc": probe.auc,
        "interval": _list_bounds(probe.interval),
        "reason": probe.reason,
    }


def _list_bounds(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
