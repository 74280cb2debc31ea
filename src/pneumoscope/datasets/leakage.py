"""Leakage: patients and copies of images on both sides of a split, counted image by image."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pneumoscope.datasets.items import SPLITS


@dataclass(frozen=True)
class Leakage:
    """What gives test images away; empty where nothing straddles."""

    patients: tuple[str, ...]
    """Patients with images in more than one split, sorted."""
    copies: tuple[str, ...]
    """Sets of identical or near-identical images in more than one split, sorted by name."""
    test_images: int
    test_patient_in_train: int
    """Test images whose patient has another image in train."""
    test_copy_in_train: int
    """Test images of which train holds a copy."""
    patients_known: bool
    """Whether any image names its patient; if not, the first count is 0 for want of names."""

    def __bool__(self) -> bool:
        return bool(self.patients or self.copies)

    def describe(self) -> str:
        """Say in one sentence what straddles."""
        if not self:
            return "No patient and no copy of an image is in more than one split."
        found = []
        if self.patients:
            n = len(self.patients)
            who = "1 patient is" if n == 1 else f"{n} patients are"
            found.append(f"{who} in more than one split, such as {self.patients[0]}")
        if self.copies:
            n = len(self.copies)
            sets = "1 set" if n == 1 else f"{n} sets"
            found.append(
                f"{sets} of identical or near-identical images "
                + ("straddles splits" if n == 1 else "straddle splits")
            )
        in_test = (
            f"; {self.test_patient_in_train} of {self.test_images} test images have their patient "
            f"in train, {self.test_copy_in_train} a copy"
        )
        return " and ".join(found) + (in_test if self.test_images else "") + "."


def find_leakage(frame: pl.DataFrame) -> Leakage:
    """Return what is in more than one split of a manifest: patients, and copies of images."""
    marked = mark_leaked(frame).filter(pl.col("split") == "test")
    return Leakage(
        patients=tuple(_find_straddling(frame, "patient")),
        copies=tuple(_find_straddling(frame, "copies")),
        test_images=marked.height,
        test_patient_in_train=int(marked["patient_in_train"].sum()),
        test_copy_in_train=int(marked["copy_in_train"].sum()),
        patients_known=frame["patient"].null_count() < frame.height,
    )


def mark_leaked(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `patient_in_train` and `copy_in_train`: whether train holds another image of these.

    Null where it cannot be told: for images that train themselves, and `patient_in_train` for
    images that name no patient.
    """
    training = pl.col("split") == "train"
    outside = pl.when(pl.col("split").ne_missing("train"))
    seen = {
        name: frame.filter(training)[column].drop_nulls().unique().implode()
        for name, column in (("patient_in_train", "patient"), ("copy_in_train", "copies"))
    }
    return frame.with_columns(
        outside.then(pl.col("patient").is_in(seen["patient_in_train"])).alias("patient_in_train"),
        outside.then(pl.col("copies").is_in(seen["copy_in_train"]).fill_null(False)).alias(
            "copy_in_train"
        ),
    )


def count_leaked(frame: pl.DataFrame) -> int:
    """Return how many test images have an image of the same patient in train."""
    return find_leakage(frame).test_patient_in_train


def describe_leak(frame: pl.DataFrame) -> str:
    """Say how many test images have their patient in train."""
    leakage = find_leakage(frame)
    if not leakage.patients_known:
        return (
            "Split by image, and patients are unknown: how many test images have theirs in train "
            "cannot be told, and numbers from this split may be too good."
        )
    leaked, n = leakage.test_patient_in_train, leakage.test_images
    return (
        f"{leaked} of {n} test images ({leaked / max(n, 1):.0%}) have their patient in train: "
        "numbers from this split are too good."
    )


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


def _find_straddling(frame: pl.DataFrame, column: str) -> list[str]:
    parted = frame.drop_nulls([column, "split"])  # without a split, an image straddles nothing
    counts = parted.group_by(column).agg(pl.col("split").n_unique().alias("n"))
    return sorted(counts.filter(pl.col("n") > 1)[column].to_list())
