"""What the input gate rejects, and what it lets pass; what the population check flags.

    PNEUMOSCOPE_DATA=data python benchmarks/foreign_images.py BUNDLE --manifest M --outside ADULTS

The bundle is an equipped one; the manifest that of its training; ADULTS what it was equipped with,
of which `test` is for reporting. The data folder holds originals/ beside chest_xray/. Foreign
images come out of the wheels of Python packages, in colour and in grey; half of the sources are
there to look at, and the other half is only counted.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
from foreign.reading import ForeignImage, read_foreign
from numpy.typing import NDArray
from PIL import Image

import pneumoscope
from pneumoscope.datasets import build_manifest, load_pixels, open_collection
from pneumoscope.evaluation import wilson_interval
from pneumoscope.images import Radiograph, from_array, read, resample
from pneumoscope.runtime import Predictor
from pneumoscope.runtime.gate import InputGate
from pneumoscope.runtime.population import PopulationCheck

#: Radiographs of the held-out part that are spoilt, for each way of spoiling.
SPOILT = 30
Square = NDArray[np.uint8]
WAYS: dict[str, Callable[[Square], Square]] = {
    "turned by 90 degrees": lambda s: np.rot90(s, 1),
    "turned by 180 degrees": lambda s: np.rot90(s, 2),
    "turned by 270 degrees": lambda s: np.rot90(s, 3),
    "flipped upside down": lambda s: s[::-1],
    "inverted": lambda s: 255 - s,
    "left half": lambda s: s[:, : s.shape[1] // 2],
    "right half": lambda s: s[:, s.shape[1] // 2 :],
    "upper half": lambda s: s[: s.shape[0] // 2],
    "lower half": lambda s: s[s.shape[0] // 2 :],
    "at a fifth of the brightness": lambda s: s // 5,
    "mirrored left to right (may pass)": lambda s: s[:, ::-1],
}


class Bench:
    """A gate and a population check, with the network that they need."""

    def __init__(self, predictor: Predictor, arrays: dict[str, NDArray[np.generic]]) -> None:
        if "gate_threshold" not in arrays:
            raise SystemExit("The bundle has no statistics for the gate: equip it first.")
        self.predictor = predictor
        self.gate = InputGate.from_reference(arrays)
        self.population = PopulationCheck.from_reference(arrays)

    def judge(self, radiographs: Iterable[Radiograph]) -> list[str | None]:
        """Return for each image why it was rejected, "flagged", or None where it passed."""
        spec = self.predictor.bundle.info.preprocessing
        answers: list[str | None] = []
        for radiograph in radiographs:
            square = resample(radiograph, spec)
            features = self.predictor.predict_pixels(square[None]).features[0]
            reason = self.gate.check(radiograph, square, features)
            outside = self.population is not None and self.population.is_outside(square)
            answers.append(reason or ("flagged" if outside else None))
        return answers


def as_grey(image: ForeignImage) -> Radiograph:
    """Return a grey copy, as a user's export or a scanner would make it."""
    return from_array(np.asarray(Image.fromarray(image.pixels).convert("L")), "MONOCHROME2")


def as_stored(image: ForeignImage) -> Radiograph:
    """Return the image with its colours."""
    kind = "RGB" if image.pixels.ndim == 3 else "MONOCHROME2"
    return from_array(np.ascontiguousarray(image.pixels), kind)


def show(name: str, hits: int, total: int, said: str) -> None:
    """Print a rate with its 95 % Wilson interval."""
    if total:
        interval = wilson_interval(hits, total)
        low, high = interval.low, interval.high
        print(
            f"  {name:<36}{said} {hits:>4} of {total:<5}{hits / total:.3f} ({low:.3f}-{high:.3f})"
        )


def report_passing(bench: Bench, name: str, radiographs: Iterable[Radiograph]) -> None:
    """Print how many radiographs are rejected, and how many of the others are flagged."""
    answers = bench.judge(radiographs)
    rejected = [answer for answer in answers if answer not in {None, "flagged"}]
    show(name, len(rejected), len(answers), "rejected")
    show("", answers.count("flagged"), len(answers) - len(rejected), "flagged ")


def report_foreign(bench: Bench, images: list[ForeignImage], show_missed: bool) -> None:
    """Print by kind how many foreign images are rejected, counting colour and grey apart."""
    tally: dict[str, list[bool]] = defaultdict(list)
    for copy in (as_stored, as_grey):
        answers = bench.judge(copy(image) for image in images)
        for image, answer in zip(images, answers, strict=True):
            rejected = answer not in {None, "flagged"}
            tally[image.kind].append(rejected)
            tally[f"all, {copy.__name__.replace('_', ' ')}"].append(rejected)
            if not rejected and show_missed:
                print(f"  passed: {image.source} {copy.__name__}")
    for kind, found in sorted(tally.items()):
        show(kind, sum(found), len(found), "rejected")


def main() -> None:
    """Read everything, ask the gate, print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--manifest", type=Path, required=True, help="of the bundle's training")
    parser.add_argument("--outside", type=Path, required=True, help="the other population")
    parser.add_argument("--reference", type=Path, help="arrays in place of the bundle's")
    parser.add_argument("--packages", type=Path, default=Path(".venv-foreign/packages"))
    options = parser.parse_args()
    data = Path(os.environ["PNEUMOSCOPE_DATA"])
    predictor = pneumoscope.load(options.bundle)
    stored = np.load(options.reference) if options.reference else predictor.bundle.reference()
    bench = Bench(predictor, dict(stored))

    frame = build_manifest(open_collection(options.manifest)).frame
    spec = predictor.bundle.info.preprocessing
    print("Radiographs that should pass")
    for split, name in (("val", "calibration part"), ("test", "held-out part")):
        part = frame.filter(frame["split"] == split)
        if part.is_empty():  # nothing was held out: the calibration part is spoilt below
            continue
        squares = load_pixels(part, spec)
        report_passing(bench, name, (from_array(square, "MONOCHROME2") for square in squares))
    originals = sorted((data / "originals").glob("*/*.jpeg"))
    report_passing(bench, "originals", (read(f, target_size=spec.size) for f in originals))
    adults = build_manifest(open_collection(options.outside)).frame
    for split, name in (("train", "adults, fitted on"), ("test", "adults, other patients")):
        files = adults.filter(pl.col("split") == split)["path"]
        report_passing(bench, name, (read(Path(f), target_size=spec.size) for f in files))
    copies = [next((data / "chest_xray").glob(f"*/*/{file.name}")) for file in originals]
    pairs = [bench.judge(read(f, target_size=spec.size) for f in fs) for fs in (originals, copies)]
    same = sum(a == b for a, b in zip(*pairs, strict=True))
    show("originals", same, len(originals), "as copy ")

    print(f"Held-out radiographs, spoilt ({SPOILT} each)")
    drawn = np.random.default_rng(0).choice(len(squares), SPOILT, replace=False)
    for name, spoil in WAYS.items():
        spoilt = (np.ascontiguousarray(spoil(squares[row])) for row in drawn)
        answers = bench.judge(from_array(square, "MONOCHROME2") for square in spoilt)
        show(name, sum(a not in {None, "flagged"} for a in answers), SPOILT, "rejected")

    images = list(read_foreign(options.packages))
    for development, name in ((True, "development"), (False, "reporting")):
        half = [image for image in images if image.for_development is development]
        print(f"Foreign images, {name} half: {len(half)} sources")
        report_foreign(bench, half, show_missed=development)


if __name__ == "__main__":
    main()
