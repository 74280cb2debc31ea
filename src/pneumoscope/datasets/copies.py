"""Pairs of images that are copies of each other, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
