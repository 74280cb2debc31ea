"""Judging runs what the stages share once; every stage still answers as if it were run alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pneumoscope.images import PreprocessingSpec
from pneumoscope.network import PneumoniaResNet50, draw_weights, fold_batch_norm
from pneumoscope.training.inputs import PixelInputs
from pneumoscope.training.judging import _find_shared_part, _predict_stages
from pneumoscope.training.recipe import Stage

BASELINE = Stage(name="baseline", trainable=("head",))
FINETUNED = Stage(name="finetuned", trainable=("layer4", "head"))
DEEPER = Stage(name="deeper", trainable=("layer2", "layer3", "layer4", "head"))
TRAINED = Stage(name="trained", trainable=("all",))


@pytest.mark.parametrize(
    ("stages", "shared"),
    [
        ((TRAINED,), None),
        ((BASELINE,), None),
        ((BASELINE, FINETUNED), "layer3"),
        ((BASELINE, FINETUNED, DEEPER), "layer1"),
        ((TRAINED, FINETUNED), "layer3"),  # the first stage's weights stay where the next is frozen
        ((BASELINE, TRAINED), None),
        ((FINETUNED, BASELINE), "layer4"),
    ],
)
def test_stages_share_what_no_later_one_trained(
    stages: tuple[Stage, ...], shared: str | None
) -> None:
    assert _find_shared_part(stages) == shared


def test_every_stage_answers_as_if_it_were_judged_alone() -> None:
    first = PneumoniaResNet50()
    draw_weights(first, seed=0)
    second = copy.deepcopy(first)
    with torch.no_grad():
        for value in second.layer4.parameters():
            value.mul_(1.1)
    networks = {"baseline": first.eval(), "finetuned": second.eval()}
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64)).astype(np.uint8)
    images = PixelInputs(pixels, PreprocessingSpec(size=64), None, torch.device("cpu"))
    rows = np.array([3, 0, 4])
    found = _predict_stages(
        {name: fold_batch_norm(network) for name, network in networks.items()},
        (BASELINE, FINETUNED), images, rows, 64, None, batch=2,
    )  # fmt: skip
    for name, network in networks.items():
        with torch.no_grad():
            alone = network(images.load_batch(rows, 64, train=False))
        np.testing.assert_allclose(found[name], alone.numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(found["baseline"], found["finetuned"])
