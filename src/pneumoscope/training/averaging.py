"""An exponential moving average of a network's weights and batch-norm statistics."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from pneumoscope.network import PneumoniaResNet50


class AveragedWeights:
    """The running average (Polyak and Juditsky 1992), warmed up so that the start is forgotten.

    At update t since the (re)start the decay is min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, network: PneumoniaResNet50, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.network.requires_grad_(False)
        self.updates = 0
        self._decay = decay

    def restart(self) -> None:
        """Forget what was averaged: the next updates take the network over as at the start."""
        self.updates = 0

    @torch.no_grad()
    def update(self, network: PneumoniaResNet50) -> None:
        """Move the average towards the weights of `network`."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = _list_floats(self.network), _list_floats(network)
        torch._foreach_lerp_(ours, theirs, 1 - decay)


def _list_floats(network: PneumoniaResNet50) -> list[Tensor]:
    return [value for value in network.state_dict().values() if value.is_floating_point()]
