"""Checkpoints: all that a run needs to go on as if nothing had happened, written whole or not."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pneumoscope._files import write_atomically
from pneumoscope.errors import RunError
from pneumoscope.network import READ_ERRORS, PneumoniaResNet50

FORMAT = 2


@dataclass
class StageState:
    """Where a stage stands after its last finished epoch."""

    stage: str
    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    lowest_epoch: int = 0
    lowest_loss: float = float("inf")
    finished: bool = False
    seconds: float = 0.0
    network: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    averaged: dict[str, Tensor] = field(default_factory=dict)
    averaged_updates: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Checkpoint:
    """A run after some epoch: the stage under way, and the history of all epochs so far."""

    state: StageState
    history: list[dict[str, Any]]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a kill at any moment leaves the old one or the new one."""
    tree = {
        "format": FORMAT,
        "state": {name: getattr(checkpoint.state, name) for name in _FIELDS},
        "history": checkpoint.history,
    }
    save_tree(path, tree)


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write what `torch.load` reads, whole or not at all; a full disk raises OSError.

    By way of memory: writing to the disk itself, torch gives the file a random inner name, and
    hides the cause where the disk is full.
    """
    stream = io.BytesIO()
    torch.save(tree, stream)
    write_atomically(path, stream.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are let in.

    Raises
    ------
    RunError
        The file is damaged or was written by a newer version.
    """
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
        if tree["format"] != FORMAT:
            raise RunError(
                f"{path} has checkpoint format {tree['format']}, this version reads {FORMAT}: "
                "resume with the version that wrote it, or start a new run."
            )
        return Checkpoint(StageState(**tree["state"]), tree["history"])
    except READ_ERRORS as error:
        raise RunError(f"{path} is damaged; start a new run in another folder.") from error


def save_weights(path: Path, network: PneumoniaResNet50, **facts: Any) -> None:
    """Write a network's weights, and plain facts beside them."""
    save_tree(path, {"network": network.state_dict(), **facts})


def load_weights(path: Path, network: PneumoniaResNet50) -> dict[str, Any]:
    """Read weights into a network, wherever it is, and return all that stands beside them.

    Raises
    ------
    RunError
        The file is damaged.
    """
    device = next(network.parameters()).device
    try:
        tree: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        network.load_state_dict(tree["network"])
    except READ_ERRORS as error:
        raise RunError(f"{path} is damaged; start a new run in another folder.") from error
    return tree


_FIELDS = tuple(entry.name for entry in fields(StageState))
