"""What an audit found, and what it means for a result, in sentences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import polars as pl

from pneumoscope.datasets import (
    LABELS,
    Collection,
    DuplicatePair,
    Manifest,
    count_images,
    find_leakage,
)
from pneumoscope.evidence.audit.drift import Drift
from pneumoscope.evidence.audit.probes import Contrast
from pneumoscope.evidence.audit.suspects import Judgement

#: A feature that surely tells the labels apart better than this is pointed out.
SHORTCUT_AUC = 0.6
#: Standard deviation of the pixels, 0 to 1: a blank image with noise has less. The least of 5,232
#: real radiographs has 0.077.
_BLANK = 0.02
#: So many paths are named in a sentence.
_NAMED = 3
#: Fewer images of a class than this in validation or test make wide intervals.
_FEW = 50


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
    features: pl.DataFrame
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
    def blank(self) -> list[str]:
        """Paths of images that were read and show nothing."""
        is_blank = self.features["contrast"] < _BLANK
        return self.manifest.frame["path"].filter(is_blank).to_list()

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


# -- what to be careful about -------------------------------------------------------------------


def _caution_files(audit: Audit) -> list[str]:
    said = []
    if n := len(audit.unreadable):
        what = "1 image could" if n == 1 else f"{n} images could"
        said.append(f"{what} not be used, and any result leaves them out.")
    if blank := audit.blank:
        what = "1 image shows" if len(blank) == 1 else f"{len(blank)} images show"
        more = ", …" if len(blank) > _NAMED else ""
        said.append(f"{what} nothing ({', '.join(blank[:_NAMED])}{more}): take them out.")
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
            f"Identical pairs of images: {kinds['exact']}, near-identical: {kinds['near']}. They "
            "count twice, and must stay on one side of any split."
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
    if audit.judgement.reason:
        return [f"Labels were not judged: {audit.judgement.reason}."]
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
