"""A backbone that was trained without labels: its weights, and which images they have seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pneumoscope._files import write_atomically
from pneumoscope.bundle import ImageHashes
from pneumoscope.errors import WeightsError
from pneumoscope.images import Normalisation
from pneumoscope.network.resnet import PneumoniaResNet50

_KEY = "pneumoscope-backbone"


@dataclass(frozen=True)
class BackboneFacts:
    """What stands beside the tensors of a backbone."""

    normalisation: Normalisation
    """How the pixels were normalised in pretraining."""
    training_images: ImageHashes
    """Every image that the weights have seen."""
    phantom: bool
    """Whether these were synthetic radiographs."""


def save_backbone(path: Path, network: PneumoniaResNet50, facts: BackboneFacts) -> None:
    """Write all weights but the head's as safetensors, with the facts in its metadata."""
    tensors: Mapping[str, Tensor] = {
        name: value.cpu().contiguous()
        for name, value in network.state_dict().items()
        if not name.startswith("fc.")
    }
    tree = {
        "normalisation": facts.normalisation.value,
        "sha256": facts.training_images.sha256,
        "phash": facts.training_images.phash,
        "phantom": facts.phantom,
    }
    write_atomically(path, save(dict(tensors), {_KEY: json.dumps(tree)}))


def read_backbone_facts(path: Path) -> BackboneFacts | None:
    """Return the facts that `save_backbone` wrote; None for any other file.

    Raises
    ------
    WeightsError
        The facts are there, and damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (OSError, SafetensorError):
        return None  # reading the tensors will say what is wrong
    if text is None:
        return None
    try:
        tree: dict[str, Any] = json.loads(text)
        images = ImageHashes(tuple(tree["sha256"]), tuple(tree["phash"]))
        return BackboneFacts(Normalisation(tree["normalisation"]), images, bool(tree["phantom"]))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} does not say properly which images it has seen: pretrain it again."
        ) from error
