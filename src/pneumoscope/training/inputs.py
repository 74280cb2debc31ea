"""Where a stage's batches come from: pixels, or activations of what is frozen.

A stage asks for rows and gets the input of its first trainable part, however it is made.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumoscope.images import PreprocessingSpec, normalise
from pneumoscope.network import PneumoniaResNet50, fold_batch_norm
from pneumoscope.training.augmentation import augment_batch, resize_batch
from pneumoscope.training.recipe import Augmentation

#: The cut behind global average pooling, where only the linear head is trained.
POOLED = "pooled"


class Inputs(Protocol):
    """Rows in, a batch out."""

    cut: str | None
    """The part of the network behind which the batches stand; None for images."""

    def load_batch(self, rows: NDArray[np.int64], size: int, train: bool) -> Tensor:
        """Return the batch of these rows, made from images of `size` pixels."""
        ...


class PixelInputs:
    """Normalised images, float32 [N, 3, size, size], augmented in training where asked."""

    cut: str | None = None

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        spec: PreprocessingSpec,
        augmentation: Augmentation | None,
        device: torch.device,
    ) -> None:
        self._pixels = pixels
        self._spec = spec
        self._augmentation = augmentation
        self._device = device

    def load_batch(self, rows: NDArray[np.int64], size: int, train: bool) -> Tensor:
        """Return normalised images; the serving code normalises here too."""
        grey = torch.from_numpy(np.ascontiguousarray(self._pixels[rows])[:, None])
        grey = resize_batch(grey, size)
        if train and self._augmentation is not None:
            grey = augment_batch(grey, self._augmentation)
        image = torch.from_numpy(normalise(grey[:, 0].numpy(), self._spec))
        return image.to(self._device).contiguous(memory_format=torch.channels_last)


class FrozenInputs:
    """Activations behind the frozen parts, computed anew for every batch."""

    def __init__(
        self, network: PneumoniaResNet50, images: PixelInputs, cut: str, autocast: torch.autocast
    ) -> None:
        self.cut: str | None = cut
        self._network = fold_batch_norm(network)
        self._images = images
        self._autocast = autocast

    @torch.no_grad()
    def load_batch(self, rows: NDArray[np.int64], size: int, train: bool) -> Tensor:
        """Return activations, float or bf16 as the context of the forward pass has it."""
        images = self._images.load_batch(rows, size, train)
        with self._autocast:
            return run_frozen(self._network, images, self.cut or POOLED)


class ActivationInputs:
    """Activations behind the frozen parts, read back from where they were kept."""

    def __init__(self, stored: Tensor, cut: str, device: torch.device) -> None:
        self.cut: str | None = cut
        self._stored = stored
        self._device = device

    def load_batch(self, rows: NDArray[np.int64], size: int, train: bool) -> Tensor:
        """Return the stored rows; maps are kept channels-last, as the network wants them."""
        batch = self._stored[torch.from_numpy(rows)].to(self._device)
        return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch


def run_frozen(
    network: PneumoniaResNet50, batch: Tensor, cut: str, after: str | None = None
) -> Tensor:
    """Return what stands behind `cut`: a map [N, C, H, W], or pooled features [N, 2048].

    The batch stands behind the part `after`; it holds images where that is None.
    """
    if cut == POOLED:
        return network.run_parts(batch, after=after).float().mean((2, 3))
    return network.run_parts(batch, after=after, upto=cut)


def run_trainable(network: PneumoniaResNet50, batch: Tensor, cut: str | None) -> Tensor:
    """Return the logits, float [N], of a batch that stands behind `cut`."""
    if cut == POOLED:
        return network.classify_features(batch)
    return network.classify(network.run_parts(batch, after=cut).float())
