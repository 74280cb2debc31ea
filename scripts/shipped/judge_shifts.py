"""How well does the model of a run rank its test images when they look otherwise than in training?

    python scripts/shipped/judge_shifts.py runs/shipped/IM-base runs/shipped/IM-strong

Every second test image is changed in eleven ways, each at one strength. `mean` is the mean AUC over
these, `pooled` the AUC over all versions together: it falls where scores move, so that no threshold
would hold. It serves to choose between recipes, never a threshold.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

import pneumoscope
from pneumoscope.datasets import read_labels, read_manifest
from pneumoscope.evaluation import compute_auc
from pneumoscope.runtime import Predictor

_SIDE = 224
_BILINEAR = Image.Resampling.BILINEAR


def change_tone(
    image: Image.Image, gamma: float, contrast: float, brightness: float
) -> Image.Image:
    """Return the image with another gamma, contrast about its mean, and brightness."""
    grey = (np.asarray(image, np.float32) / 255) ** gamma
    grey = grey.mean() + (grey - grey.mean()) * contrast + brightness
    return Image.fromarray((grey.clip(0, 1) * 255).astype(np.uint8))


def add_noise(image: Image.Image, deviation: float) -> Image.Image:
    """Return the image with Gaussian noise, the same for all."""
    noise = np.random.default_rng(1).normal(0, deviation, (_SIDE, _SIDE))
    return Image.fromarray((np.asarray(image, np.float32) + noise).clip(0, 255).astype(np.uint8))


def compress(image: Image.Image, quality: int) -> Image.Image:
    """Return the image as JPEG leaves it."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("L")


def zoom(image: Image.Image, factor: float) -> Image.Image:
    """Return the middle enlarged, or the whole shrunk within black."""
    side = round(_SIDE / factor)
    left = (_SIDE - side) // 2
    return image.crop((left, left, left + side, left + side)).resize((_SIDE, _SIDE), _BILINEAR)


SHIFTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "gamma 1.6": lambda image: change_tone(image, 1.6, 1, 0),
    "gamma 0.6": lambda image: change_tone(image, 0.6, 1, 0),
    "half contrast": lambda image: change_tone(image, 1, 0.5, 0),
    "brighter": lambda image: change_tone(image, 1, 1, 0.2),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "noise": lambda image: add_noise(image, 20),
    "JPEG 15": lambda image: compress(image, 15),
    "zoom 0.85": lambda image: zoom(image, 0.85),
    "zoom 1.2": lambda image: zoom(image, 1.2),
    "turned 12°": lambda image: image.rotate(12, _BILINEAR),
    "equalised": ImageOps.equalize,
}


def answer_shifted(
    predictor: Predictor, paths: Iterable[str], shift: Callable[[Image.Image], Image.Image]
) -> NDArray[np.float64]:
    """Return the logits of images that were changed."""
    side = predictor.bundle.info.preprocessing.size
    squares = []
    for path in paths:
        image = shift(Image.open(path).convert("L").resize((_SIDE, _SIDE), _BILINEAR))
        squares.append(np.asarray(image.resize((side, side), _BILINEAR)))
    return predictor.predict_pixels(np.stack(squares)).logits.astype(np.float64)


def judge_run(run: Path) -> dict[str, float]:
    """Return the AUC as the images are, under each shift, their mean, and pooled."""
    predictor = pneumoscope.load(run / "bundle")
    frame = read_manifest(run / "manifest.parquet").filter(pl.col("split") == "test")
    frame = frame.gather_every(2)
    labels = read_labels(frame)
    scores = {
        name: answer_shifted(predictor, frame["path"], shift)
        for name, shift in {"as they are": lambda image: image, **SHIFTS}.items()
    }
    found = {name: compute_auc(labels, logits) or 0.0 for name, logits in scores.items()}
    mean = float(np.mean([found[name] for name in SHIFTS]))
    pooled = compute_auc(np.tile(labels, len(scores)), np.concatenate(list(scores.values())))
    return found | {"mean": mean, "pooled": pooled or 0.0}


def main() -> None:
    """Judge and print one column a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    columns = [judge_run(run) for run in runs]
    print(f"{'AUC':14}", *(f"{run.name:>14}" for run in runs))
    for name in columns[0]:
        print(f"{name:14}", *(f"{column[name]:14.4f}" for column in columns))


if __name__ == "__main__":
    main()
