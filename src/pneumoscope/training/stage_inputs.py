"""What each stage's batches are made of: pixels, or cached activations of its frozen parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pneumoscope.network import PneumoniaResNet50
from pneumoscope.training.activations import load_activations
from pneumoscope.training.facts import RunFacts
from pneumoscope.training.inputs import (
    POOLED,
    ActivationInputs,
    FrozenInputs,
    Inputs,
    PixelInputs,
)
from pneumoscope.training.loop import Observer, report_progress
from pneumoscope.training.recipe import Stage


class StageInputs:
    """Makes the inputs of a run's stages from its images, uint8 [N, size, size]."""

    def __init__(
        self,
        facts: RunFacts,
        network: PneumoniaResNet50,
        pixels: NDArray[np.uint8],
        observer: Observer,
    ) -> None:
        self.facts, self.network = facts, network
        self.pixels, self.observer = pixels, observer

    def build(self, stage: Stage) -> Inputs:
        """Return what a stage trains on; what is frozen is computed once where there is room."""
        spec = self.facts.recipe.preprocessing
        images = PixelInputs(self.pixels, spec, stage.augmentation, self.facts.device)
        cut = _find_cut(stage)
        if cut is None:
            return images
        if self._is_cacheable(stage):
            source: Inputs = images
            if cut == POOLED and self._later_cut is not None:
                # What the next stage keeps frozen lies on the way: computed once, it serves both.
                source = self._load_activations(images, self._later_cut) or images
            stored = self._load_activations(source, cut)
            if stored is not None:
                return stored
            self.observer.on_message("No room for the activation cache: computing them each epoch.")
        return FrozenInputs(self.network, images, cut, self.facts.make_autocast())

    @property
    def _later_cut(self) -> str | None:
        """The map that a later, cacheable stage stands on, if there is one."""
        cuts = [_find_cut(stage) for stage in self.facts.recipe.stages if self._is_cacheable(stage)]
        return next((cut for cut in cuts if cut not in {None, POOLED}), None)

    def _is_cacheable(self, stage: Stage) -> bool:
        plain = stage.augmentation is None and not stage.resolutions
        return self.facts.recipe.cache and plain

    def _load_activations(self, source: Inputs, cut: str) -> ActivationInputs | None:
        return load_activations(
            self.network,
            source,
            cut,
            image_hashes=self.facts.frame["sha256"].to_list(),
            spec=self.facts.recipe.preprocessing,
            autocast=self.facts.make_autocast(),
            device=self.facts.device,
            progress=report_progress(self.observer, f"Computing what is frozen, up to {cut}"),
        )


def _find_cut(stage: Stage) -> str | None:
    """Return behind what a stage's batches stand; the head alone needs no map, only its mean."""
    return {"layer4": POOLED}.get(stage.frozen_upto or "", stage.frozen_upto)
