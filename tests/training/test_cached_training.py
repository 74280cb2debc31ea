"""Cached and uncached training are the same training: the real network at its real size."""

import numpy as np
import pytest
import torch

from pneumoscope.images import PreprocessingSpec
from pneumoscope.network import PneumoniaResNet50
from pneumoscope.training import Silent, load_recipe
from pneumoscope.training.activations import load_activations
from pneumoscope.training.inputs import POOLED, FrozenInputs, PixelInputs
from pneumoscope.training.loop import Task, train_stage


def _train(stage, inputs, labels, autocast, seed=0):
    torch.manual_seed(seed)
    network = _make_network()
    rows = []
    task = Task(
        inputs=inputs(network),
        labels=labels,
        train_rows=np.arange(48),
        val_rows=np.arange(48, 64),
        positive_weight=1.0,
        image_size=224,
        seed=seed,
        device=torch.device("cpu"),
        autocast=autocast,
    )
    train_stage(
        network, stage, task, observer=Silent(), on_checkpoint=lambda state, row: rows.append(row)
    )
    return [(row.train_loss, row.val_loss) for row in rows]


def _make_network():
    torch.manual_seed(7)
    network = PneumoniaResNet50(dropout=0.2)
    with torch.no_grad():
        network.fc.weight.normal_(std=0.01)
    return network.eval().to(memory_format=torch.channels_last)


@pytest.mark.slow
@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-5), (True, 1e-3)])
def test_losses_are_the_same_with_and_without_the_cache(rng, bf16, tolerance):
    spec = PreprocessingSpec()
    pixels = rng.integers(0, 256, (64, 224, 224), dtype=np.uint8)
    labels = np.arange(64) % 2
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    device = torch.device("cpu")
    images = PixelInputs(pixels, spec, None, device)
    hashes = [f"{i:064x}" for i in range(64)]
    for stage in load_recipe("classic", epochs=2).stages:
        stage = stage.model_copy(update={"batch_size": 16})
        cut = POOLED if stage.frozen_upto == "layer4" else stage.frozen_upto

        def cached(network, cut=cut):
            stored = load_activations(
                network,
                images,
                cut,
                image_hashes=hashes,
                spec=spec,
                autocast=autocast,
                device=device,
            )
            assert stored is not None
            return stored

        def uncached(network, cut=cut):
            return FrozenInputs(network, images, cut, autocast)

        with_cache = _train(stage, cached, labels, autocast)
        without = _train(stage, uncached, labels, autocast)
        np.testing.assert_allclose(with_cache, without, atol=tolerance, rtol=0)
        assert len(with_cache) == 2


def test_the_cache_is_read_back_and_depends_on_the_weights(rng, tmp_path, monkeypatch):
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path))
    spec = PreprocessingSpec(size=32)
    pixels = rng.integers(0, 256, (4, 32, 32), dtype=np.uint8)
    device = torch.device("cpu")
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=False)
    network = _make_network()
    calls = []

    def load():
        return load_activations(
            network,
            PixelInputs(pixels, spec, None, device),
            "layer3",
            image_hashes=["a", "b", "c", "d"],
            spec=spec,
            autocast=autocast,
            device=device,
            progress=lambda done, total: calls.append(done),
        )

    first = load().load_batch(np.array([2, 0]), 32, train=False)
    second = load().load_batch(np.array([2, 0]), 32, train=False)
    assert torch.equal(first, second)
    assert len(calls) == 1  # the second time nothing was computed
    with torch.no_grad():
        network.conv1.weight += 0.01
    load()
    assert len(calls) == 2
    with torch.no_grad():
        network.fc.weight += 1  # the head is not frozen: it changes nothing here
    load()
    assert len(calls) == 2


@pytest.mark.parametrize("bf16", [False, True])
def test_pooled_features_are_the_same_by_way_of_the_cached_map(rng, bf16):
    spec = PreprocessingSpec(size=64)
    pixels = rng.integers(0, 256, (40, 64, 64), dtype=np.uint8)
    device = torch.device("cpu")
    network = _make_network()
    facts = {
        "spec": spec,
        "autocast": torch.autocast("cpu", torch.bfloat16, enabled=bf16),
        "device": device,
    }
    images = PixelInputs(pixels, spec, None, device)

    def load(source, cut, mark):
        # The hashes are part of the key: another mark is computed anew.
        hashes = [f"{mark}{i}" for i in range(40)]
        return load_activations(network, source, cut, image_hashes=hashes, **facts)

    rows = np.arange(40)
    direct = load(images, POOLED, "direct").load_batch(rows, 64, train=False)
    staged = load(load(images, "layer3", "staged"), POOLED, "staged")
    assert torch.equal(staged.load_batch(rows, 64, train=False), direct)
