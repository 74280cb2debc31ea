"""The cheap part of an audit, from a manifest alone: copies and patients that straddle splits.

Training asks it before it begins; `pneumoscope data audit` writes it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from pneumoscope.datasets.items import SPLITS
from pneumoscope.datasets.manifest import Manifest


class CopyKind(StrEnum):
    """How alike two images are."""

    EXACT = "exact"
    """The same bytes; of array files, the same pixels."""
    NEAR = "near"
    """Another file of the same picture: re-encoded, resized, cropped by a little, re-windowed."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two images that are copies of each other."""

    a: str
    b: str
    kind: CopyKind
    across_splits: bool
    across_labels: bool


@dataclass(frozen=True)
class Leakage:
    """What one split gives away of another; empty where nothing does."""

    duplicates: tuple[DuplicatePair, ...]
    """Pairs of copies in two different splits."""
    patients: tuple[str, ...]
    """Patients with images in more than one split."""

    def describe(self) -> list[str]:
        """Say each thing that invalidates a result in a sentence."""
        said = []
        if n := len(self.patients):
            who = "1 patient has" if n == 1 else f"{n} patients have"
            said.append(f"{who} images in more than one split, such as {self.patients[0]}.")
        if n := len(self.duplicates):
            first = self.duplicates[0]
            what = "1 pair of copies lies" if n == 1 else f"{n} pairs of copies lie"
            said.append(f"{what} in two different splits, such as {first.a} and {first.b}.")
        return said


def find_leakage(manifest: Manifest) -> Leakage:
    """Return the copies and patients that straddle the splits of a manifest.

    An image without a split straddles nothing. Patients that nobody named cannot be found.
    """
    return Leakage(
        tuple(pair for pair in list_duplicates(manifest) if pair.across_splits),
        tuple(count_straddling(manifest.frame)),
    )


def list_duplicates(manifest: Manifest) -> list[DuplicatePair]:
    """Return every pair of copies: across splits first, then across labels, then by path."""
    rows = manifest.frame.select("path", "sha256", "split", "label").rows()
    pairs = []
    for i, j in manifest.copies:
        (path, sha256, split, label), (path2, sha256_2, split2, label2) = sorted((rows[i], rows[j]))
        pairs.append(
            DuplicatePair(
                path,
                path2,
                CopyKind.EXACT if sha256 == sha256_2 else CopyKind.NEAR,
                across_splits=None not in {split, split2} and split != split2,
                across_labels=label != label2,
            )
        )
    return sorted(pairs, key=lambda p: (not p.across_splits, not p.across_labels, p.a, p.b))


def count_straddling(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return patient → split → number of images, of those with images in several splits."""
    counts = (
        frame.drop_nulls(["patient", "split"])
        .group_by("patient", "split")
        .len()
        .filter(pl.col("split").count().over("patient") > 1)
    )
    found: dict[str, dict[str, int]] = {}
    for patient, split, n in sorted(counts.rows(), key=lambda r: (r[0], SPLITS.index(r[1]))):
        found.setdefault(patient, {})[split] = n
    return found
