"""A training run from data to bundle and report, resumable after a kill at any moment."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from pneumoscope import runtime
from pneumoscope._files import write_atomically
from pneumoscope.datasets import (
    Grouping,
    Skipped,
    build_manifest,
    load_pixels,
    open_collection,
    read_manifest,
    resolve_splits,
    split_ref,
    write_manifest,
)
from pneumoscope.errors import RunError
from pneumoscope.evidence import write_evaluation
from pneumoscope.network import (
    READ_ERRORS,
    PneumoniaResNet50,
    WeightsOrigin,
    choose_weights,
    initialise_head,
    save_bundle,
)
from pneumoscope.training.activations import load_activations
from pneumoscope.training.checkpoint import (
    Checkpoint,
    StageState,
    load_checkpoint,
    save_checkpoint,
    save_tree,
)
from pneumoscope.training.environment import (
    choose_device,
    choose_precision,
    compare_environments,
    describe_environment,
)
from pneumoscope.training.facts import RunFacts
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.inputs import (
    POOLED,
    ActivationInputs,
    FrozenInputs,
    Inputs,
    PixelInputs,
)
from pneumoscope.training.judging import describe_bundle, describe_context, judge_stages
from pneumoscope.training.loop import EpochRow, Observer, Task, train_stage
from pneumoscope.training.recipe import ClassWeighting, Stage
from pneumoscope.training.recorders import MlflowRecorder, Several, TensorBoardRecorder
from pneumoscope.training.request import (
    TrainingRequest,
    check_same_request,
    describe_request,
    parse_request,
)


@dataclass(frozen=True)
class TrainingResult:
    """Where everything is, and what came out."""

    folder: RunFolder
    metrics: dict[str, Any]
    stages: dict[str, str]
    seconds: float
    excluded: tuple[Skipped, ...] = ()
    """Files that were left out, and why."""


def train(request: TrainingRequest, observer: Observer) -> TrainingResult:
    """Start a run in `request.out` and bring it to its end.

    Raises
    ------
    RunError
        The folder is in use, finished, or not empty.
    DataError, WeightsError
        The data or the weights cannot be used as they are.
    """
    folder = RunFolder(request.out)
    with folder.hold(resume=False):
        config = describe_request(request)
        run = _Run(folder, request, config, observer)
        run.prepare()
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
            name=request.out.absolute().name or "run",
            recipe=request.recipe,
            seed=request.seed,
            device=device,
            precision=choose_precision(request.recipe.precision, device),
            config=config,
        )
        observers: list[Observer] = [observer, TensorBoardRecorder(folder.logs)]
        self.mlflow = MlflowRecorder(request.out.name, config) if request.mlflow else None
        if self.mlflow:
            observers.append(self.mlflow)
        self.observer = Several(observers)

    def prepare(self) -> None:
        """Read the data, settle splits and weights, and write what a resume needs."""
        request, say = self.request, self.observer.on_message
        collection = open_collection(
            request.data, request.options, progress=self._report("Unpacking")
        )
        manifest = build_manifest(collection, progress=self._report("Reading images"))
        split = resolve_splits(
            manifest.frame,
            collection.layout,
            ratios=self.facts.recipe.ratios,
            grouping=Grouping(self.facts.recipe.grouping),
            seed=request.seed,
        )
        notes = [*collection.notes, *manifest.notes, *split.notes]
        excluded = [*collection.skipped, *manifest.excluded]
        for note in notes:
            say(note)
        self.facts.frame = split.frame
        network = PneumoniaResNet50(self.facts.recipe.dropout)
        test_hashes = split.frame.filter(pl.col("split") == "test")["sha256"].to_list()
        origin = choose_weights(
            network,
            request.weights,
            test_hashes=test_hashes,
            allow_contamination=request.allow_contamination,
            seed=request.seed,
            progress=self._report("Downloading weights"),
        )
        say(origin.note)
        if not origin.keeps_head:
            initialise_head(network, request.seed)
        recipe = self.facts.recipe
        wanted = recipe.preprocessing.normalisation
        if origin.normalisation not in {None, wanted}:
            say(
                f"Pixels are normalised as the weights want it: {origin.normalisation}, "
                f"not {wanted}."
            )
        if origin.normalisation is not None:
            spec = recipe.preprocessing.model_copy(update={"normalisation": origin.normalisation})
            recipe = recipe.model_copy(update={"preprocessing": spec})
        if origin.name == "none" and any(stage.frozen_upto for stage in recipe.stages):
            notes.append("The frozen layers start from random weights: their features mean little.")
            say(notes[-1])
        self.facts.recipe = recipe
        self.facts.config |= {
            "recipe": recipe.model_dump(mode="json"),
            "layout": collection.layout.value,
            "weights_taken": _describe_origin(origin),
            "device_taken": self.facts.device.type,
            "precision_taken": self.facts.precision.value,
            "notes": notes,
            "excluded": [
                dataclasses.asdict(entry) | {"path": str(entry.path)} for entry in excluded
            ],
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_manifest(self.facts.frame, self.folder.manifest)
        self.folder.write_json(
            self.folder.environment, describe_environment(self.facts.device, self.facts.precision)
        )
        hashes = sorted(origin.training_hashes)
        self._save_weights(self.folder.initial, network, training_hashes=hashes)
        self.folder.write_config(
            self.facts.config
        )  # last: a config means that the run can be resumed

    def reopen(self) -> None:
        """Read back what `prepare` wrote; say where the machine differs."""
        then = self.folder.read_environment()
        now = describe_environment(self.facts.device, self.facts.precision)
        for difference in compare_environments(then, now):
            self.observer.on_message(
                f"Resumed elsewhere: {difference}; the last bits of the weights may differ."
            )
        self.facts.frame = read_manifest(self.folder.manifest)
        if not Path(split_ref(self.facts.frame["path"][0])[0]).exists():
            # An archive was unpacked in the cache, and the cache was cleared: unpack it again.
            open_collection(self.request.data, self.request.options)
        if self.folder.checkpoint.is_file():
            history = load_checkpoint(self.folder.checkpoint).history
            self.facts.history = [EpochRow(**row) for row in history]
            self.folder.write_history(self.facts.history)

    def finish(self) -> TrainingResult:
        """Train what is left, save the bundle, evaluate, and clear what served resuming."""
        started = time.perf_counter()
        pixels = load_pixels(
            self.facts.frame,
            self.facts.recipe.preprocessing,
            progress=self._report("Preparing pixels"),
        )
        network = PneumoniaResNet50(self.facts.recipe.dropout).to(
            self.facts.device, memory_format=torch.channels_last
        )
        tree = self._load_weights(self.folder.initial, network)
        summaries, best_epochs = {}, {}
        for stage in self.facts.recipe.stages:
            ended = self._train_stage(network, stage, pixels)
            summaries[stage.name], best_epochs[stage.name] = ended
        final = self.facts.recipe.stages[-1].name
        predictions, points = judge_stages(
            self.facts,
            network,
            pixels,
            lambda stage: self._load_weights(self.folder.stage_weights(stage), network),
            progress=self._report("Judging validation and test images"),
        )
        seen = self.facts.frame.filter(pl.col("split") != "test")["sha256"].to_list()
        validation = predictions.filter((pl.col("stage") == final) & (pl.col("split") == "val"))
        bundle = save_bundle(
            self.folder.bundle,
            network,
            describe_bundle(self.facts, predictions, points, final),
            reference={
                "logits": validation["logit"].to_numpy().astype(np.float32),
                "labels": (validation["label"] == "PNEUMONIA").to_numpy().astype(np.int8),
            },
            training_hashes=set(tree["training_hashes"]) | set(seen),
        )
        metrics = write_evaluation(
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
            self.folder, metrics, summaries, time.perf_counter() - started, excluded
        )

    # -- stages -------------------------------------------------------------------------------

    def _train_stage(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> tuple[str, int]:
        """Train what is left of a stage; return how it ended in words, and the epoch kept."""
        kept = self.folder.stage_weights(stage.name)
        if kept.is_file():
            tree = self._load_weights(kept, network)
            return str(tree["summary"]), int(tree["best_epoch"])
        state = None
        if self.folder.checkpoint.is_file():
            checkpoint = load_checkpoint(self.folder.checkpoint)
            if checkpoint.state.stage == stage.name:
                state = checkpoint.state
                self.observer.on_message(f"Resuming {stage.name} after epoch {state.epoch}.")
        task = self._build_task(network, stage, pixels)
        try:
            state = train_stage(
                network,
                stage,
                task,
                state=state,
                observer=self.observer,
                on_checkpoint=self._save_epoch,
            )
        except KeyboardInterrupt:
            self._keep_best(network)
            raise
        summary = _summarise(stage, state)
        self._save_weights(kept, network, summary=summary, best_epoch=state.best_epoch)
        self.observer.on_message(f"{stage.name}: {summary}.")
        return summary, state.best_epoch

    def _save_epoch(self, state: StageState, row: EpochRow) -> None:
        self.facts.history.append(row)
        rows = [dataclasses.asdict(entry) for entry in self.facts.history]
        save_checkpoint(self.folder.checkpoint, Checkpoint(state, rows))
        self.folder.write_history(self.facts.history)

    def _keep_best(self, network: PneumoniaResNet50) -> None:
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
            inputs=self._build_inputs(network, stage, pixels),
            labels=labels,
            train_rows=train_rows,
            val_rows=val_rows,
            positive_weight=weight,
            image_size=self.facts.recipe.preprocessing.size,
            seed=self.request.seed,
            device=self.facts.device,
            autocast=self.facts.make_autocast(),
        )

    def _build_inputs(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> Inputs:
        spec = self.facts.recipe.preprocessing
        images = PixelInputs(pixels, spec, stage.augmentation, self.facts.device)
        cut = _find_cut(stage)
        if cut is None:
            return images
        if self._is_cacheable(stage):
            source: Inputs = images
            if cut == POOLED and self._later_cut is not None:
                # What the next stage keeps frozen lies on the way: computed once, it serves both.
                source = self._load_activations(network, images, self._later_cut) or images
            stored = self._load_activations(network, source, cut)
            if stored is not None:
                return stored
            self.observer.on_message("No room for the activation cache: computing them each epoch.")
        return FrozenInputs(network, images, cut, self.facts.make_autocast())

    @property
    def _later_cut(self) -> str | None:
        """The map that a later, cacheable stage stands on, if there is one."""
        cuts = [_find_cut(stage) for stage in self.facts.recipe.stages if self._is_cacheable(stage)]
        return next((cut for cut in cuts if cut not in {None, POOLED}), None)

    def _is_cacheable(self, stage: Stage) -> bool:
        plain = stage.augmentation is None and not stage.resolutions
        return self.facts.recipe.cache and plain

    def _load_activations(
        self, network: PneumoniaResNet50, source: Inputs, cut: str
    ) -> ActivationInputs | None:
        return load_activations(
            network,
            source,
            cut,
            image_hashes=self.facts.frame["sha256"].to_list(),
            spec=self.facts.recipe.preprocessing,
            autocast=self.facts.make_autocast(),
            device=self.facts.device,
            progress=self._report(f"Computing what is frozen, up to {cut}"),
        )

    def _report(self, title: str) -> Callable[[int, int], None]:
        """Return a progress callback for long work outside the epochs."""
        return lambda done, total: self.observer.on_progress(title, done, total)

    def _save_weights(self, path: Path, network: PneumoniaResNet50, **facts: Any) -> None:
        save_tree(path, {"network": network.state_dict(), **facts})

    def _load_weights(self, path: Path, network: PneumoniaResNet50) -> dict[str, Any]:
        try:
            tree: dict[str, Any] = torch.load(
                path, map_location=self.facts.device, weights_only=True
            )
            network.load_state_dict(tree["network"])
        except READ_ERRORS as error:
            raise RunError(f"{path} is damaged; start a new run in another folder.") from error
        return tree


def _find_cut(stage: Stage) -> str | None:
    """Return behind what a stage's batches stand; the head alone needs no map, only its mean."""
    return {"layer4": POOLED}.get(stage.frozen_upto or "", stage.frozen_upto)


def _summarise(stage: Stage, state: StageState) -> str:
    stopped = (
        f"stopped at epoch {state.epoch}"
        if state.epoch < stage.epochs
        else f"trained {state.epoch} epochs"
    )
    if stage.averaging:
        return f"{stopped}, averaged weights of epoch {state.best_epoch}"
    return f"{stopped}, best {state.best_epoch}"


def _describe_origin(origin: WeightsOrigin) -> dict[str, Any]:
    return {
        "name": origin.name,
        "sha256": origin.sha256,
        "note": origin.note,
        "phantom": origin.phantom,
        "contaminated": origin.contaminated,
    }
