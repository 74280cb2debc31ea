"""A training run from data to bundle and report, resumable after a kill at any moment."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from pneumoscope import runtime
from pneumoscope._files import write_atomically
from pneumoscope.bundle import ImageHashes
from pneumoscope.datasets import Skipped, load_pixels, read_manifest
from pneumoscope.evidence import write_evaluation
from pneumoscope.network import PneumoniaResNet50, save_bundle
from pneumoscope.training.checkpoint import (
    Checkpoint,
    StageState,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from pneumoscope.training.environment import (
    choose_device,
    choose_precision,
    compare_environments,
    describe_environment,
)
from pneumoscope.training.facts import RunFacts
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.judging import describe_bundle, describe_context, judge_stages
from pneumoscope.training.loop import EpochRow, Observer, Task, report_progress, train_stage
from pneumoscope.training.preparation import SplitData, bring_back_images, prepare_run
from pneumoscope.training.recipe import ClassWeighting, Stage
from pneumoscope.training.recorders import MlflowRecorder, Several, TensorBoardRecorder
from pneumoscope.training.request import (
    TrainingRequest,
    check_same_request,
    describe_request,
    parse_request,
)
from pneumoscope.training.stage_inputs import StageInputs


@dataclass(frozen=True)
class TrainingResult:
    """Where everything is, and what came out."""

    folder: RunFolder
    metrics: dict[str, Any]
    stages: dict[str, str]
    seconds: float
    excluded: tuple[Skipped, ...] = ()
    """Files that were left out, and why."""


def train(
    request: TrainingRequest, observer: Observer, data: SplitData | None = None
) -> TrainingResult:
    """Start a run in `request.out` and bring it to its end.

    `data` is what was read from `request.data` and split before, as cross-validation does.

    Raises
    ------
    RunError
        The folder is in use, finished, or not empty.
    DataError, WeightsError
        The data or the weights cannot be used as they are, or the split leaks.
    """
    folder = RunFolder(request.out)
    with folder.hold(resume=False):
        config = describe_request(request)
        run = _Run(folder, request, config, observer)
        run.prepare(data)
        return run.finish()


def resume(
    out: Path,
    observer: Observer,
    again: TrainingRequest | None = None,
    *,
    device: str | None = None,
) -> TrainingResult:
    """Go on with the run in `out` where its last checkpoint stands.

    Parameters
    ----------
    again
        The request once more, as a person repeats a command; it must ask for the same.
    device
        Where to go on; by default as the run was started.

    Raises
    ------
    RunError
        The folder is in use, finished, damaged, or holds no run; the device is not here.
    """
    folder = RunFolder(out)
    with folder.hold(resume=True):
        config = folder.read_config()
        request = parse_request(config, out)
        if again is not None:
            check_same_request(config, again)
        if device is not None:
            request = dataclasses.replace(request, device=device)
        run = _Run(folder, request, config, observer)
        run.reopen()
        return run.finish()


class _Run:
    """A run under way: prepared or reopened, then brought to its end."""

    def __init__(
        self,
        folder: RunFolder,
        request: TrainingRequest,
        config: dict[str, Any],
        observer: Observer,
    ) -> None:
        self.folder, self.request = folder, request
        device = choose_device(request.device)
        self.facts = RunFacts(
            name=request.name or request.out.absolute().name or "run",
            recipe=request.recipe,
            seed=request.seed,
            device=device,
            precision=choose_precision(request.recipe.precision, device),
            config=config,
        )
        observers: list[Observer] = [observer, TensorBoardRecorder(folder.logs)]
        self.mlflow = MlflowRecorder(self.facts.name, config) if request.mlflow else None
        if self.mlflow:
            observers.append(self.mlflow)
        self.observer = Several(observers)

    def prepare(self, data: SplitData | None) -> None:
        """Read the data, settle splits and weights, and write what a resume needs."""
        prepare_run(self.folder, self.request, self.facts, self.observer, data)

    def reopen(self) -> None:
        """Read back what `prepare` wrote; say where the machine differs."""
        then = self.folder.read_environment()
        now = describe_environment(self.facts.device, self.facts.precision)
        for difference in compare_environments(then, now):
            self.observer.on_message(
                f"Resumed elsewhere: {difference}; the last bits of the weights may differ."
            )
        self.facts.frame = read_manifest(self.folder.manifest)
        bring_back_images(self.facts.frame, self.request)
        if self.folder.checkpoint.is_file():
            history = load_checkpoint(self.folder.checkpoint).history
            self.facts.history = [EpochRow(**row) for row in history]
            self.folder.write_history(self.facts.history)

    def finish(self) -> TrainingResult:
        """Train what is left, save the bundle, evaluate, and clear what served resuming."""
        try:
            return self._finish()
        except KeyboardInterrupt:
            self._keep_best()
            raise

    def _finish(self) -> TrainingResult:
        started = time.perf_counter()
        pixels = load_pixels(
            self.facts.frame,
            self.facts.recipe.preprocessing,
            progress=report_progress(self.observer, "Preparing pixels"),
        )
        network = PneumoniaResNet50(self.facts.recipe.dropout).to(
            self.facts.device, memory_format=torch.channels_last
        )
        tree = load_weights(self.folder.initial, network)
        summaries, best_epochs = {}, {}
        for stage in self.facts.recipe.stages:
            ended = self._train_stage(network, stage, pixels)
            summaries[stage.name], best_epochs[stage.name] = ended
        final = self.facts.recipe.stages[-1].name
        predictions, points = judge_stages(
            self.facts,
            network,
            pixels,
            lambda stage: load_weights(self.folder.stage_weights(stage), network),
            progress=report_progress(self.observer, "Judging validation and test images"),
        )
        validation = predictions.filter((pl.col("stage") == final) & (pl.col("split") == "val"))
        bundle = save_bundle(
            self.folder.bundle,
            network,
            describe_bundle(self.facts, predictions, points, final),
            reference={
                "logits": validation["logit"].to_numpy().astype(np.float32),
                "labels": (validation["label"] == "PNEUMONIA").to_numpy().astype(np.int8),
            },
            training_images=ImageHashes(**tree["training_images"])
            | self.facts.read_hashes(pl.col("split") != "test"),
        )
        written = write_evaluation(
            self.folder.path,
            predictions,
            points,
            final,
            describe_context(self.facts, summaries, best_epochs),
            explainer=runtime.load(bundle.path),
        )
        if self.mlflow:
            self.mlflow.close()
        self.folder.clear_state()
        excluded = tuple(Skipped(**entry) for entry in self.facts.config["excluded"])
        return TrainingResult(
            self.folder, written.metrics, summaries, time.perf_counter() - started, excluded
        )

    # -- stages -------------------------------------------------------------------------------

    def _train_stage(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> tuple[str, int]:
        """Train what is left of a stage; return how it ended in words, and the epoch kept."""
        kept = self.folder.stage_weights(stage.name)
        if kept.is_file():
            tree = load_weights(kept, network)
            return str(tree["summary"]), int(tree["best_epoch"])
        state = None
        if self.folder.checkpoint.is_file():
            checkpoint = load_checkpoint(self.folder.checkpoint)
            if checkpoint.state.stage == stage.name:
                state = checkpoint.state
                self.observer.on_message(f"Resuming {stage.name} after epoch {state.epoch}.")
        task = self._build_task(network, stage, pixels)
        state = train_stage(
            network,
            stage,
            task,
            state=state,
            observer=self.observer,
            on_checkpoint=self._save_epoch,
        )
        summary = _summarise(stage, state)
        save_weights(kept, network, summary=summary, best_epoch=state.best_epoch)
        self.observer.on_message(f"{stage.name}: {summary}.")
        return summary, state.best_epoch

    def _save_epoch(self, state: StageState, row: EpochRow) -> None:
        self.facts.history.append(row)
        rows = [dataclasses.asdict(entry) for entry in self.facts.history]
        save_checkpoint(self.folder.checkpoint, Checkpoint(state, rows))
        self.folder.write_history(self.facts.history)

    def _keep_best(self) -> None:
        """After Ctrl-C: leave the best weights so far as a file that other tools open."""
        if not self.folder.checkpoint.is_file():
            self.observer.on_message("Stopped before the first epoch was done; --resume starts it.")
            return
        from safetensors.torch import save

        best = load_checkpoint(self.folder.checkpoint).state.best
        tensors = {name: value.contiguous() for name, value in best.items()}
        write_atomically(self.folder.best, save(tensors))
        self.observer.on_message(
            f"Stopped. The best weights so far are in {self.folder.best}; --resume goes on."
        )

    def _build_task(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> Task:
        train_rows, val_rows = self.facts.find_rows("train"), self.facts.find_rows("val")
        labels = self.facts.read_labels()
        positives = int(labels[train_rows].sum())
        weight = 1.0
        if self.facts.recipe.class_weighting is ClassWeighting.BALANCED:
            weight = (len(train_rows) - positives) / positives
            self.observer.on_message(
                f"Class weighting: a pneumonia counts {weight:.2f} times "
                f"({positives} PNEUMONIA, {len(train_rows) - positives} NORMAL in training)."
            )
        return Task(
            inputs=StageInputs(self.facts, network, pixels, self.observer).build(stage),
            labels=labels,
            train_rows=train_rows,
            val_rows=val_rows,
            positive_weight=weight,
            image_size=self.facts.recipe.preprocessing.size,
            seed=self.request.seed,
            device=self.facts.device,
            autocast=self.facts.make_autocast(),
        )


def _summarise(stage: Stage, state: StageState) -> str:
    stopped = (
        f"stopped at epoch {state.epoch}"
        if state.epoch < stage.epochs
        else f"trained {state.epoch} epochs"
    )
    if stage.averaging:
        return f"{stopped}, averaged weights of epoch {state.best_epoch}"
    return f"{stopped}, best {state.best_epoch}"
