"""Folding batch norm changes how the network computes, not what."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pneumoscope.network import PARTS, PneumoniaResNet50, fold_batch_norm


@torch.no_grad()
def test_the_folded_network_gives_the_same_answers(
    network: PneumoniaResNet50, images: NDArray[np.float32]
) -> None:
    batch = torch.from_numpy(images)
    plain, folded = network.eval().explain(batch), fold_batch_norm(network).explain(batch)
    torch.testing.assert_close(folded.logit, plain.logit, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.features, plain.features, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(folded.activation_map, plain.activation_map, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_every_part_of_the_folded_network_can_be_run_apart(
    network: PneumoniaResNet50, images: NDArray[np.float32]
) -> None:
    folded = fold_batch_norm(network)
    batch = torch.from_numpy(images)
    whole = folded(batch)
    for part in PARTS:
        behind = folded.run_parts(folded.run_parts(batch, upto=part), after=part)
        torch.testing.assert_close(folded.classify(behind), whole)


def test_no_batch_norm_is_left_and_the_original_stays_whole(network: PneumoniaResNet50) -> None:
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norm(network)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 53
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_folded_copy_is_for_inference(network: PneumoniaResNet50) -> None:
    network.train()
    folded = fold_batch_norm(network)
    assert network.training
    assert not folded.training
    assert not any(value.requires_grad for value in folded.parameters())
    network.eval()
