"""The facts of a run that training, judging and reporting share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from pneumoscope.bundle import ImageHashes
from pneumoscope.datasets import count_images, read_labels
from pneumoscope.training.loop import EpochRow
from pneumoscope.training.recipe import Precision, Recipe


@dataclass
class RunFacts:
    """What a run works on and with; filled in while it is prepared or reopened."""

    name: str
    recipe: Recipe
    seed: int
    device: torch.device
    precision: Precision
    config: dict[str, Any]
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    history: list[EpochRow] = field(default_factory=list)

    def find_rows(self, split: str) -> NDArray[np.int64]:
        """Return the row numbers of a split."""
        return np.flatnonzero((self.frame["split"] == split).to_numpy())

    def read_labels(self) -> NDArray[np.int64]:
        """Return the label of every row, 0 (NORMAL) or 1 (PNEUMONIA)."""
        return read_labels(self.frame)

    def read_hashes(self, which: pl.Expr) -> ImageHashes:
        """Return the hashes of the images for which the expression holds."""
        rows = self.frame.filter(which)
        return ImageHashes(tuple(rows["sha256"]), tuple(rows["phash"]))

    def count_images(self) -> dict[str, dict[str, int]]:
        """Return split → label → number of images."""
        return count_images(self.frame)

    def list_sources(self) -> list[str]:
        """Return where the images come from."""
        return self.frame["source"].unique().sort().to_list()

    def is_phantom(self) -> bool:
        """Whether images or starting weights are synthetic."""
        return bool(self.config["weights_taken"]["phantom"]) or "phantom" in self.list_sources()

    def list_warnings(self) -> list[str]:
        """Return what limits the numbers of this run, in sentences."""
        warnings = []
        if self.is_phantom():
            warnings.append("Trained on synthetic phantoms: for demonstrations and tests only.")
        seen = self.config["weights_taken"]["contaminated"]
        if seen:
            warnings.append(
                f"The starting weights have seen {seen} of the test images "
                "(--allow-contamination): test numbers are too good."
            )
        if leakage := self.config.get("leakage"):
            warnings.append(
                f"Leakage was allowed (--allow-leakage): {leakage} These numbers are too good."
            )
        elif self.recipe.grouping == "image" and self.frame["patient"].null_count():
            warnings.append(
                "Split at random by image, and not every image names its patient: patients may "
                "straddle train and test, and numbers may be too good."
            )
        return warnings

    def make_autocast(self) -> torch.autocast:
        """Return the context of the forward pass, in the run's precision."""
        enabled = self.precision is Precision.BF16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)
