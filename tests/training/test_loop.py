"""The parts of the loop, against independent oracles where there is one."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pneumoscope.errors import RunError
from pneumoscope.images import PreprocessingSpec
from pneumoscope.network import PneumoniaResNet50
from pneumoscope.training import loop
from pneumoscope.training.augmentation import augment_batch, blur_batch, resize_batch
from pneumoscope.training.averaging import AveragedWeights
from pneumoscope.training.checkpoint import StageState
from pneumoscope.training.inputs import PixelInputs
from pneumoscope.training.loop import Task, derive_seed, one_cycle, train_stage
from pneumoscope.training.recipe import Augmentation, Stage
from pneumoscope.training.recorders import Silent


def test_no_augmentation_changes_nothing(rng):
    grey = torch.from_numpy(rng.integers(0, 256, (3, 1, 32, 32), dtype=np.uint8))
    assert torch.equal(augment_batch(grey, Augmentation()), grey)


def test_blur_is_that_of_scipy(rng):
    image = torch.from_numpy(rng.random((3, 1, 20, 31), np.float32))
    widths = torch.tensor([0.0, 0.7, 2.0])
    blurred = blur_batch(image, widths)
    assert torch.equal(blurred[0], image[0])
    for ours, plain, width in zip(blurred[1:], image[1:], widths[1:], strict=True):
        reach = 6 / float(width)  # as far as the widest of the batch
        oracle = gaussian_filter(plain[0].numpy(), float(width), mode="nearest", truncate=reach)
        assert ours[0].numpy() == pytest.approx(oracle, abs=1e-5)


def test_augmentation_follows_the_random_state(rng):
    grey = torch.from_numpy(rng.integers(0, 256, (4, 1, 32, 32), dtype=np.uint8))
    plan = Augmentation(rotation=10, scale=0.1, gamma=0.2, contrast=0.2, brightness=0.1, noise=0.02)
    torch.manual_seed(1)
    first = augment_batch(grey, plan)
    torch.manual_seed(1)
    assert torch.equal(augment_batch(grey, plan), first)
    assert not torch.equal(augment_batch(grey, plan), first)
    assert first.dtype == torch.uint8
    assert first.shape == grey.shape


def test_brightness_moves_the_mean_by_at_most_what_it_says():
    grey = torch.full((64, 1, 16, 16), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    means = augment_batch(grey, Augmentation(brightness=0.1)).float().mean((1, 2, 3))
    assert (means - 128).abs().max() <= 0.1 * 255 + 0.5
    assert means.std() > 5


def test_resizing_keeps_a_constant_image_constant():
    grey = torch.full((2, 1, 224, 224), 77, dtype=torch.uint8)
    assert torch.equal(resize_batch(grey, 96), torch.full((2, 1, 96, 96), 77, dtype=torch.uint8))


def test_one_cycle_rises_to_the_peak_and_ends_near_zero():
    shares = np.linspace(0, 1, 101)
    factors = [one_cycle(share) for share in shares]
    assert max(factors) == pytest.approx(1.0, abs=1e-3)
    assert int(np.argmax(factors)) == 25
    assert factors[0] == pytest.approx(0.04)
    assert factors[-1] < 1e-3


def test_seeds_depend_on_every_part():
    seeds = {derive_seed(0, "a", 1, 2), derive_seed(1, "a", 1, 2), derive_seed(0, "a", 2, 1)}
    assert len(seeds) == 3
    assert derive_seed(0, "a", 1, 2) == derive_seed(0, "a", 1, 2)


def test_the_average_agrees_with_a_plain_recurrence():
    torch.manual_seed(0)
    network = PneumoniaResNet50()
    average = AveragedWeights(network, decay=0.9)
    expected = network.fc.weight.detach().clone()
    for update in range(1, 30):
        with torch.no_grad():
            network.fc.weight += 0.1
        average.update(network)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network.fc.weight.detach()
    assert torch.allclose(average.network.fc.weight, expected, atol=1e-5)
    assert not math.isnan(float(average.network.bn1.running_var.sum()))


def test_a_restarted_average_forgets_what_it_held():
    network = PneumoniaResNet50()
    average = AveragedWeights(network, decay=0.999)
    for bias, updates in ((1.0, 300), (3.0, 300)):
        average.restart()
        with torch.no_grad():
            network.fc.bias.fill_(bias)
        for _ in range(updates):
            average.update(network)
        assert float(average.network.fc.bias) == pytest.approx(bias, abs=1e-3)


def _make_task(rng) -> Task:
    cpu, rows = torch.device("cpu"), np.arange(8)
    pixels = rng.integers(0, 256, (8, 64, 64), dtype=np.uint8)
    return Task(
        inputs=PixelInputs(pixels, PreprocessingSpec(size=64), None, cpu),
        labels=rows % 2, train_rows=rows, val_rows=rows, positive_weight=1.0, image_size=64, seed=0,
        device=cpu, autocast=torch.autocast("cpu", enabled=False),
    )  # fmt: skip


def _make_stage(**changes) -> Stage:
    fields = {"name": "trained", "trainable": ("head",), "epochs": 4, "batch_size": 4}
    return Stage(**(fields | changes))


def _follow(stage, task, losses, monkeypatch) -> StageState:
    """Train with validation losses that are told, not measured."""
    told = iter(losses)

    def measure(*_):
        return {"val_loss": next(told), "val_accuracy": 0, "val_auc": 0, "val_sensitivity": 0}

    monkeypatch.setattr(loop, "measure", measure)
    return train_stage(
        PneumoniaResNet50(), stage, task, observer=Silent(), on_checkpoint=lambda state, row: None
    )


def test_the_average_starts_anew_where_the_image_size_changes(rng, monkeypatch):
    stage = _make_stage(averaging=0.9, resolutions=((32, 0.5), (64, 0.5)))
    restarts, epochs = [], []
    monkeypatch.setattr(AveragedWeights, "restart", lambda self: restarts.append(len(epochs) + 1))
    train_stage(
        PneumoniaResNet50(), stage, _make_task(rng),
        observer=Silent(), on_checkpoint=lambda state, row: epochs.append(row.epoch),
    )  # fmt: skip
    assert epochs == [1, 2, 3, 4]
    assert restarts == [3]


@pytest.mark.parametrize("restore", ["best", "last"])
def test_patience_counts_from_the_lowest_loss(rng, monkeypatch, restore):
    stage = _make_stage(patience=2, restore=restore, epochs=9)
    state = _follow(stage, _make_task(rng), [0.5, 0.3, 0.4, 0.6, 0.1], monkeypatch)
    assert state.epoch == 4
    assert state.best_epoch == {"best": 2, "last": 4}[restore]


def test_losses_of_two_image_sizes_are_not_compared(rng, monkeypatch):
    stage = _make_stage(resolutions=((32, 0.5), (64, 0.5)))
    state = _follow(stage, _make_task(rng), [0.2, 0.1, 0.5, 0.6], monkeypatch)
    assert state.best_epoch == 3


def test_a_stage_that_diverges_says_what_to_do(rng):
    with pytest.raises(RunError, match=r"trained diverged.*--set trained.learning_rate=1e\+29"):
        train_stage(
            PneumoniaResNet50(), _make_stage(learning_rate=1e30), _make_task(rng),
            observer=Silent(), on_checkpoint=lambda state, row: None,
        )  # fmt: skip
