"""From a trained network to a bundle, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pneumoscope.bundle import Bundle, BundleInfo, ImageHashes, narrow, read_bundle, write_bundle
from pneumoscope.errors import BundleError
from pneumoscope.network.graph import build_graph
from pneumoscope.network.resnet import PneumoniaResNet50

_WEIGHTS = "model.safetensors"


def save_bundle(
    path: str | os.PathLike[str],
    network: PneumoniaResNet50,
    info: BundleInfo,
    *,
    reference: Mapping[str, NDArray[Any]],
    training_images: ImageHashes,
    card: str | None = None,
) -> Bundle:
    """Write `network` as a bundle, whole or not at all, and return it opened.

    Weights are stored as float16 (see `round_weights`). `info.files` is filled in. An older bundle
    at `path` is replaced. The network is left as it was.

    Raises
    ------
    BundleError
        A weight is not finite, or the folder cannot be written.
    """
    weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    size = info.preprocessing.size
    return write_bundle(
        path,
        info,
        weights={name: np.ascontiguousarray(array) for name, array in weights.items()},
        graph=lambda places: build_graph(network, places, size=size, location=_WEIGHTS),
        reference=reference,
        training_images=training_images,
        card=card,
    )


def load_network(bundle: Bundle | str | os.PathLike[str]) -> PneumoniaResNet50:
    """Return the network of a bundle, float32 on the CPU, ready to predict (not to train).

    Raises
    ------
    BundleError
        The bundle or its weights cannot be used.
    """
    if not isinstance(bundle, Bundle):
        bundle = read_bundle(bundle)
    network = PneumoniaResNet50()
    try:
        network.load_state_dict(load_file(bundle.file(_WEIGHTS)))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BundleError(
            f"{Path(bundle.path)}: its weights are no ResNet50 with one output: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    network.eval()
    return network


def round_weights(network: PneumoniaResNet50) -> None:
    """Round the weights in place to what a bundle stores, so that what is judged is what is saved.

    float16 keeps 11 significant bits; a tensor that does not fit its range stays float32.
    """
    state = network.state_dict()
    network.load_state_dict({name: _round(value) for name, value in state.items()})


def _round(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    return torch.from_numpy(narrow(value.detach().cpu().numpy()).astype(np.float32))
