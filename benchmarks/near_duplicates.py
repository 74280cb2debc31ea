"""Recall and false matches of near-duplicate detection on real radiographs.

    PNEUMOSCOPE_DATA=data/chest_xray python benchmarks/near_duplicates.py

Recall: seeded images of the folder are re-encoded, resized, cropped, and changed in brightness and
contrast; each copy must be found beside its original. False matches: the whole folder is searched,
and what is found is held against the patients that the file names tell, and against an independent
check (centred 24×24 box thumbnails that correlate above 0.999).
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.datasets.arrays import read_radiograph
from pneumoscope.datasets.collection import open_collection
from pneumoscope.datasets.duplicates import (
    MAX_DISTANCE,
    MIN_CORRELATION,
    Fingerprint,
    correlate_aligned,
    find_near_duplicates,
    fingerprint,
    propose_pairs,
)
from pneumoscope.datasets.items import Item
from pneumoscope.images import from_array

Pair = tuple[int, int]
Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]

CHECK_SIDE = 24
CHECK_CORRELATION = 0.999


def reencode(quality: int) -> Change:
    """Return a change that writes a JPEG file of this quality and reads it back."""

    def change(pixels: Pixels) -> Pixels:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return change


def resize(factor: float) -> Change:
    """Return a change of both sides by a factor."""

    def change(pixels: Pixels) -> Pixels:
        height, width = pixels.shape
        size = (round(width * factor), round(height * factor))
        resized: Pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        return resized

    return change


def crop(share: float) -> Change:
    """Return a change that cuts this share of the size off each side."""

    def change(pixels: Pixels) -> Pixels:
        rows, columns = (round(side * share) for side in pixels.shape)
        return pixels[rows : pixels.shape[0] - rows, columns : pixels.shape[1] - columns]

    return change


def relight(contrast: float = 1.0, brightness: float = 0.0) -> Change:
    """Return a change of contrast about mid-grey and of brightness in grey levels, clipped."""

    def change(pixels: Pixels) -> Pixels:
        lit = (pixels.astype(np.float32) - 127.5) * contrast + 127.5 + brightness
        clipped: Pixels = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
        return clipped

    return change


def chain(*steps: Change) -> Change:
    """Return the changes one after the other."""

    def change(pixels: Pixels) -> Pixels:
        for step in steps:
            pixels = step(pixels)
        return pixels

    return change


CHANGES: dict[str, Change] = {
    "JPEG quality 90": reencode(90),
    "JPEG quality 75": reencode(75),
    "JPEG quality 50": reencode(50),
    "resized 0.5": resize(0.5),
    "resized 0.75": resize(0.75),
    "resized 1.5": resize(1.5),
    "cropped 1 % a side": crop(0.01),
    "cropped 2 % a side": crop(0.02),
    "cropped 3 % a side": crop(0.03),
    "cropped 4 % a side": crop(0.04),
    "brightness +20": relight(brightness=20),
    "brightness -20": relight(brightness=-20),
    "contrast 1.2": relight(contrast=1.2),
    "contrast 0.8": relight(contrast=0.8),
    "cropped 2 %, resized 0.75, JPEG 75": chain(crop(0.02), resize(0.75), reencode(75)),
}


def read_prints(items: Sequence[Item]) -> tuple[list[Fingerprint], NDArray[np.float32]]:
    """Return fingerprints, and the check's thumbnails, centred and of unit length, [N, 576]."""

    def read(item: Item) -> tuple[Fingerprint, NDArray[np.float32]]:
        radiograph = read_radiograph(item.ref)
        grey = Image.fromarray(radiograph.pixels.astype(np.uint8))
        small = grey.resize((CHECK_SIDE, CHECK_SIDE), Image.Resampling.BOX)
        centred = np.asarray(small, np.float32).ravel()
        centred = centred - centred.mean()
        return fingerprint(radiograph), centred / max(float(np.linalg.norm(centred)), 1e-9)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read_all = list(pool.map(read, items))
    return [one for one, _ in read_all], np.stack([check for _, check in read_all])


def measure_recall(items: Sequence[Item], count: int, seed: int) -> None:
    """Print, for each change, how many copies are found, and how far they are."""
    drawn = np.random.default_rng(seed).permutation(len(items))[:count]
    originals = [read_radiograph(items[int(row)].ref).pixels.astype(np.uint8) for row in drawn]
    prints = [describe(pixels) for pixels in originals]
    print(f"Recall on {len(drawn)} images (seed {seed}):")
    print(
        f"{'copy':36} {'found':>9} {'recall':>7} {'bits, largest':>14} {'correlation, least':>19}"
    )
    for name, change in CHANGES.items():
        copies = [describe(change(pixels)) for pixels in originals]
        pairs = list(zip(prints, copies, strict=True))
        found = sum(bool(find_near_duplicates(pair)) for pair in pairs)
        bits = max(count_bits(one, other) for one, other in pairs)
        least = min(correlate_aligned(one.thumbnail, other.thumbnail) for one, other in pairs)
        share = found / len(pairs)
        print(f"{name:36} {found:>4}/{len(pairs)} {share:>7.1%} {bits:>14} {least:>19.4f}")


def describe(pixels: Pixels) -> Fingerprint:
    """Return the fingerprint of grey pixels."""
    return fingerprint(from_array(np.ascontiguousarray(pixels), "MONOCHROME2"))


def count_bits(one: Fingerprint, other: Fingerprint) -> int:
    """Return how many bits of the hashes differ."""
    return int(np.bitwise_count(one.phash ^ other.phash).sum())


def measure_matches(items: Sequence[Item]) -> None:
    """Print what is found in the whole folder, and how it meets the independent check."""
    started = time.perf_counter()
    prints, check = read_prints(items)
    read = time.perf_counter()
    proposed = propose_pairs(prints, MAX_DISTANCE)
    found = find_near_duplicates(prints)
    searched = time.perf_counter()
    near = check @ check.T
    independent = {(int(i), int(j)) for i, j in np.argwhere(np.triu(near, 1) > CHECK_CORRELATION)}
    print(f"\nThe whole folder, {len(items)} images:")
    print(f"{'pairs whose hashes are near':46} {len(proposed):>6}")
    print_pairs("pairs found", found, items)
    print_pairs("pairs of the independent check", sorted(independent), items)
    both = independent & set(found)
    print(f"{'of these found':46} {len(both):>6}")
    print(f"{'seconds: reading, searching':46} {read - started:.1f}, {searched - read:.1f}")
    for title, pairs in (
        ("found, though not in the check", sorted(set(found) - independent)),
        ("in the check, though not found", sorted(independent - set(found))),
    ):
        for i, j in pairs:
            aligned = correlate_aligned(prints[i].thumbnail, prints[j].thumbnail)
            print(
                f"{title}: {Path(items[i].ref).name} {Path(items[j].ref).name} "
                f"{count_bits(prints[i], prints[j])} bits, aligned {aligned:.4f}, "
                f"check {near[i, j]:.4f}"
            )


def print_pairs(title: str, pairs: Sequence[Pair], items: Sequence[Item]) -> None:
    """Print how many pairs there are, and how many share a patient or a label."""
    same = sum(
        items[i].patient is not None and items[i].patient == items[j].patient for i, j in pairs
    )
    labels = sum(items[i].label != items[j].label for i, j in pairs)
    print(
        f"{title:46} {len(pairs):>6}  ({same} of one patient, {len(pairs) - same} across "
        f"patients, {labels} across labels)"
    )


def main() -> None:
    """Measure recall, then matches."""
    parser = argparse.ArgumentParser(description="Near-duplicates: recall and false matches.")
    parser.add_argument("data", nargs="?", default=os.environ.get("PNEUMOSCOPE_DATA"))
    parser.add_argument("--count", type=int, default=300, help="images that are copied")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.data:
        parser.error("name the folder, or set PNEUMOSCOPE_DATA.")
    items = open_collection(options.data).items
    print(f"At most {MAX_DISTANCE} of 256 bits apart, correlation at least {MIN_CORRELATION}.\n")
    measure_recall(items, options.count, options.seed)
    measure_matches(items)


if __name__ == "__main__":
    main()
