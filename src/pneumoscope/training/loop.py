"""The loop that trains one stage: it reads a plan, and knows nothing of files or tables."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope.errors import RunError
from pneumoscope.evaluation import compute_auc
from pneumoscope.network import PARTS, PneumoniaResNet50
from pneumoscope.training.averaging import AveragedWeights
from pneumoscope.training.checkpoint import StageState
from pneumoscope.training.inputs import Inputs, run_trainable
from pneumoscope.training.recipe import BatchNorm, Restore, Schedule, Stage


@dataclass(frozen=True)
class EpochRow:
    """One row of the history: what an epoch cost and gave."""

    stage: str
    epoch: int
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float
    val_auc: float
    val_sensitivity: float
    lr: float
    seconds: float


class Observer(Protocol):
    """Somebody who watches the training; every method may do nothing."""

    def on_message(self, text: str) -> None:
        """Hear a sentence meant for people."""

    def on_progress(self, title: str, done: int, total: int) -> None:
        """See how far work outside the epochs is, such as reading images."""

    def on_step(
        self, stage: Stage, epoch: int, done: int, total: int, loss: float, rate: float
    ) -> None:
        """See a step: `done` of `total` images of this epoch, `rate` images a second."""

    def on_epoch(self, stage: Stage, row: EpochRow) -> None:
        """See a finished epoch."""


def report_progress(observer: Observer, title: str) -> Callable[[int, int], None]:
    """Return a callback through which long work outside the epochs is seen under a title."""
    return lambda done, total: observer.on_progress(title, done, total)


@dataclass(frozen=True)
class Task:
    """What a stage learns from: inputs, labels {0, 1} of all rows, and which rows are which."""

    inputs: Inputs
    labels: NDArray[np.int64]
    train_rows: NDArray[np.int64]
    val_rows: NDArray[np.int64]
    positive_weight: float
    image_size: int
    seed: int
    device: torch.device
    autocast: torch.autocast


def train_stage(
    network: PneumoniaResNet50,
    stage: Stage,
    task: Task,
    *,
    state: StageState | None = None,
    observer: Observer,
    on_checkpoint: Callable[[StageState, EpochRow], None],
) -> StageState:
    """Train `network` in place as the stage says; it ends with the weights to be kept.

    `state` continues a stage after its last finished epoch, exactly: all randomness of a step is
    drawn from (seed, stage, epoch, step), none from what went before. `on_checkpoint` is called
    with a state that may be stored after every epoch.
    """
    state = state or StageState(stage.name)
    loop = _Loop(network, stage, task, state)
    while state.epoch < stage.epochs and not state.finished:
        row = loop.run_epoch(observer)
        loop.record(row)
        on_checkpoint(state, row)
        observer.on_epoch(stage, row)
    network.load_state_dict(state.best)
    network.requires_grad_(False)
    network.eval()
    return state


class _Loop:
    """A stage under way: the network, its optimiser, the average, and the state to be stored."""

    def __init__(
        self, network: PneumoniaResNet50, stage: Stage, task: Task, state: StageState
    ) -> None:
        self.network, self.stage, self.task, self.state = network, stage, task, state
        if state.network:
            network.load_state_dict(state.network)
        _freeze(network, stage)
        self.optimiser = _build_optimiser(network, stage)
        self.average = AveragedWeights(network, stage.averaging) if stage.averaging else None
        if state.optimiser:
            self.optimiser.load_state_dict(state.optimiser)
        if state.averaged and self.average:
            self.average.network.load_state_dict(state.averaged)
            self.average.updates = state.averaged_updates

    def run_epoch(self, observer: Observer) -> EpochRow:
        """Train one epoch and validate."""
        started = time.perf_counter()
        epoch = self.state.epoch + 1
        size = self._find_size(epoch)
        if self.average and self._changes_size(epoch):
            # Batch-norm statistics depend on the image size (Touvron et al. 2019,
            # arXiv:1906.06423): an average over two sizes fits neither.
            self.average.restart()
        loss_sum, right, seen = 0.0, 0, 0
        _set_modes(self.network, self.stage)
        for step, rows in enumerate(self._draw_batches(epoch)):
            loss, correct = self._take_step(epoch, step, rows, size)
            loss_sum += loss * len(rows)
            right += correct
            seen += len(rows)
            rate = seen / (time.perf_counter() - started)
            total = len(self.task.train_rows)
            observer.on_step(self.stage, epoch, seen, total, loss_sum / seen, rate)
        judged = self.average.network if self.average else self.network
        logits = predict_logits(judged, self.task, self.task.val_rows, size)
        check_finite(logits, self.stage)
        val = measure(logits, self.task.labels[self.task.val_rows], self.task.positive_weight)
        return EpochRow(
            stage=self.stage.name,
            epoch=epoch,
            train_loss=loss_sum / seen,
            train_accuracy=right / seen,
            lr=self.optimiser.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
            **val,
        )

    def record(self, row: EpochRow) -> None:
        """Bring the state up to date with a finished epoch."""
        state, stage = self.state, self.stage
        judged = self.average.network if self.average else self.network
        grown = self._changes_size(row.epoch)
        lower = row.val_loss < state.lowest_loss
        if lower or grown:  # losses of two image sizes say nothing about each other
            state.lowest_epoch, state.lowest_loss = row.epoch, row.val_loss
        if stage.restore is Restore.LAST or lower or grown or not state.best:
            state.best_epoch = row.epoch
            state.best = copy.deepcopy(judged.state_dict())
        state.epoch = row.epoch
        state.seconds += row.seconds
        waited = row.epoch - state.lowest_epoch
        stopped = stage.patience is not None and waited >= stage.patience
        state.finished = stopped or row.epoch >= stage.epochs
        state.network = self.network.state_dict()
        state.optimiser = self.optimiser.state_dict()
        if self.average:
            state.averaged = self.average.network.state_dict()
            state.averaged_updates = self.average.updates

    def _take_step(
        self, epoch: int, step: int, rows: NDArray[np.int64], size: int
    ) -> tuple[float, int]:
        task, stage = self.task, self.stage
        torch.manual_seed(derive_seed(task.seed, stage.name, epoch, step))
        self._set_learning_rate()
        batch = task.inputs.load_batch(rows, size, train=True)
        target = torch.from_numpy(task.labels[rows]).to(task.device, torch.float32)
        with task.autocast:
            logits = run_trainable(self.network, batch, task.inputs.cut).float()
        loss = _compute_loss(logits, target, task.positive_weight, stage.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.state.step += 1
        if self.average:
            self.average.update(self.network)
        return loss.item(), int(((logits > 0) == (target > 0.5)).sum())

    def _find_size(self, epoch: int) -> int:
        return self.stage.find_size(epoch, self.task.image_size)

    def _changes_size(self, epoch: int) -> bool:
        return epoch > 1 and self._find_size(epoch) != self._find_size(epoch - 1)

    def _draw_batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the training rows in a new order; a last batch of one joins its neighbour."""
        rows = self.task.train_rows
        order = np.random.default_rng(
            derive_seed(self.task.seed, self.stage.name, epoch, -1)
        ).permutation(rows)
        count = max(1, math.ceil((len(order) - 1) / self.stage.batch_size))
        starts = np.arange(count) * self.stage.batch_size
        yield from np.split(order, starts[1:].tolist())

    def _set_learning_rate(self) -> None:
        if self.stage.schedule is Schedule.CONSTANT:
            return
        per_epoch = max(1, math.ceil((len(self.task.train_rows) - 1) / self.stage.batch_size))
        share = self.state.step / max(1, self.stage.epochs * per_epoch - 1)
        for group in self.optimiser.param_groups:
            group["lr"] = self.stage.learning_rate * one_cycle(share)


def one_cycle(share: float, warm_up: float = 0.25) -> float:
    """Return the factor of the peak learning rate at a share 0..1 of the stage.

    Cosine from 1/25 up to 1 over the warm-up, then down to nearly 0 (Smith 2018, arXiv:1803.09820).
    """
    if share < warm_up:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * share / warm_up)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up))) / 2


def derive_seed(*parts: int | str) -> int:
    """Return a seed of 63 bits that depends on every part and on nothing else."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@torch.no_grad()
def predict_logits(
    network: PneumoniaResNet50, task: Task, rows: NDArray[np.int64], size: int, batch: int = 32
) -> NDArray[np.float32]:
    """Return the logits, float32 [len(rows)], of these rows without augmentation."""
    network.eval()
    logits: list[Tensor] = []
    for start in range(0, len(rows), batch):
        images = task.inputs.load_batch(rows[start : start + batch], size, train=False)
        with task.autocast:
            logits.append(run_trainable(network, images, task.inputs.cut).float().cpu())
    return torch.cat(logits).numpy() if logits else np.empty(0, np.float32)


def check_finite(logits: NDArray[np.float32], stage: Stage) -> None:
    """Raise a RunError where a stage's answers are no numbers any more."""
    if not np.isfinite(logits).all():
        raise RunError(
            f"The stage {stage.name} diverged: its answers are not numbers; start another run "
            f"with --set {stage.name}.learning_rate={stage.learning_rate / 10:g}."
        )


def measure(
    logits: NDArray[np.float32], labels: NDArray[np.int64], positive_weight: float
) -> dict[str, float]:
    """Return validation loss, accuracy and sensitivity at 0.5, and AUC."""
    loss = _compute_loss(
        torch.from_numpy(logits), torch.from_numpy(labels).float(), positive_weight, smoothing=0.0
    )
    called = logits > 0
    auc = compute_auc(labels, logits)
    return {
        "val_loss": float(loss),
        "val_accuracy": float((called == (labels == 1)).mean()),
        "val_auc": math.nan if auc is None else auc,
        "val_sensitivity": float(called[labels == 1].mean()) if (labels == 1).any() else math.nan,
    }


def _compute_loss(
    logits: Tensor, target: Tensor, positive_weight: float, smoothing: float
) -> Tensor:
    """Weighted cross-entropy; weights average to one over the classes' shares in training."""
    weight = torch.where(target > 0.5, positive_weight, 1.0)
    softened = target * (1 - smoothing) + 0.5 * smoothing
    loss = F.binary_cross_entropy_with_logits(logits, softened, reduction="none")
    return (loss * weight).sum() / weight.sum()


def _freeze(network: PneumoniaResNet50, stage: Stage) -> None:
    network.requires_grad_(False)
    for module in _list_trainable(network, stage):
        module.requires_grad_(True)


def _set_modes(network: PneumoniaResNet50, stage: Stage) -> None:
    """Put trainable parts into training mode; batch norm only where the stage says so."""
    network.eval()
    network.dropout.train()
    if stage.batch_norm is BatchNorm.TRAINING:
        for module in _list_trainable(network, stage):
            module.train()


def _list_trainable(network: PneumoniaResNet50, stage: Stage) -> list[nn.Module]:
    modules: list[nn.Module] = [network.fc]
    if "stem" in stage.trainable:
        modules += [network.conv1, network.bn1]
    modules += [getattr(network, part) for part in PARTS[1:] if part in stage.trainable]
    return modules


def _build_optimiser(network: PneumoniaResNet50, stage: Stage) -> torch.optim.Optimizer:
    """AdamW; biases and batch norm are not decayed, as usual (He et al. 2019, arXiv:1812.01187)."""
    trained = [value for value in network.parameters() if value.requires_grad]
    groups = [
        {"params": [v for v in trained if v.ndim > 1], "weight_decay": stage.weight_decay},
        {"params": [v for v in trained if v.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=stage.learning_rate, fused=True
    )
