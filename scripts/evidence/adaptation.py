"""How far does a bundle come back on another collection, and what does it take?

    python scripts/shipped/make_parts.py chest_xray parts --adults adults
    python scripts/evidence/adaptation.py parts/adults.csv --out runs/adaptation

Three ways, each from 50, 100 and 200 labelled images of the other collection: recalibration alone
(`pneumoscope recalibrate`), training the head, and training `layer4` and the head
(`adaptation.yaml`). Each draw cuts the patients into two halves; one half is judged, and the images
come from the other, the smaller sets within the larger. Of the images that train, a quarter, by
patient, is held back for thresholds; recalibration alone needs none held back. Nothing is chosen on
what is judged.

DATA is a manifest with path, label and patient. What is done is not done again: stop and go on as
you like. Writes `adaptation.csv` (one row a draw, way and size), `adaptation.json` (mean and
spread) and `adaptation.png`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

import pneumoscope
from pneumoscope._files import write_atomically
from pneumoscope.datasets import build_manifest, load_pixels, open_collection
from pneumoscope.training import Silent, TrainingRequest, load_recipe, resume, train

RECIPE = Path(__file__).with_name("adaptation.yaml")


def cut_patients(frame: pl.DataFrame, draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to adapt on, in the order in which they are taken, and those to judge."""
    groups = frame["group"].to_numpy()
    folds = StratifiedGroupKFold(2, shuffle=True, random_state=draw)
    pool, judged = next(folds.split(groups, frame["label"].to_numpy(), groups))
    order = np.random.default_rng(draw).permutation(np.unique(groups[pool]))
    rows = [row for group in order for row in pool[groups[pool] == group]]
    return np.array(rows), judged


def hold_back(frame: pl.DataFrame, draw: int) -> NDArray[np.bool_]:
    """Return which rows of a set set the thresholds: a quarter, by patient, of both classes."""
    groups, labels = frame["group"].to_numpy(), frame["label"].to_numpy()
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=draw)
    held = np.zeros(len(groups), np.bool_)
    held[next(folds.split(groups, labels, groups))[1]] = True
    return held


def train_on(frame: pl.DataFrame, bundle: str, draw: int, folder: Path) -> Path:
    """Return the file of the answers, on all but the training images, of both trained stages.

    Parameters
    ----------
    frame
        path, label, patient and split: train and val to adapt on, test to be judged.
    folder
        Of the run; only `predictions.csv`, beside it, is kept.
    """
    answers = folder.with_suffix(".csv")
    if answers.is_file():
        return answers
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = folder.with_suffix(".manifest.csv")
    if (folder / "config.yaml").is_file() and not (folder / "predictions.csv").is_file():
        resume(folder, Silent())
    elif not (folder / "predictions.csv").is_file():
        frame.select("path", "label", "patient", "split").write_csv(manifest)
        shutil.rmtree(folder, ignore_errors=True)
        recipe = load_recipe(str(RECIPE))
        train(TrainingRequest(manifest, folder, recipe, weights=bundle, seed=draw), Silent())
    shutil.copyfile(folder / "predictions.csv", answers.with_suffix(".part"))
    answers.with_suffix(".part").rename(answers)
    shutil.rmtree(folder)
    return answers
