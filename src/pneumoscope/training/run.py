"""A training run from data to bundle and report, resumable after a kill at any moment."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from pneumoscope import __version__, runtime
from pneumoscope._files import replace_atomically
from pneumoscope.bundle import BundleInfo, Calibration, DataInfo, OperatingPointInfo
from pneumoscope.datasets import (
    CollectionOptions,
    Grouping,
    Layout,
    build_manifest,
    load_pixels,
    open_collection,
    read_manifest,
    resolve_splits,
    write_manifest,
)
from pneumoscope.errors import RunError
from pneumoscope.evaluation import OperatingPoint, choose_operating_points
from pneumoscope.evidence import EvaluationContext, write_evaluation
from pneumoscope.network import (
    PneumoniaResNet50,
    WeightsOrigin,
    choose_weights,
    initialise_head,
    save_bundle,
)
from pneumoscope.training.activations import load_activations
from pneumoscope.training.checkpoint import Checkpoint, StageState, load_checkpoint, save_checkpoint
from pneumoscope.training.environment import (
    choose_device,
    choose_precision,
    compare_environments,
    describe_environment,
)
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.inputs import POOLED, FrozenInputs, Inputs, PixelInputs
from pneumoscope.training.loop import EpochRow, Observer, Task, predict_logits, train_stage
from pneumoscope.training.recipe import ClassWeighting, Precision, Recipe, Stage, parse_recipe
from pneumoscope.training.recorders import MlflowRecorder, Several, TensorBoardRecorder


@dataclass(frozen=True)
class TrainingRequest:
    """What a run is asked to do."""

    data: Path
    out: Path
    recipe: Recipe
    weights: str = "auto"
    seed: int = 0
    device: str = "auto"
    options: CollectionOptions = field(default_factory=CollectionOptions)
    allow_contamination: bool = False
    mlflow: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """Where everything is, and what came out."""

    folder: RunFolder
    metrics: dict[str, Any]
    stages: dict[str, str]
    seconds: float


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
        config = _describe_request(request)
        run = _Run(folder, request, config, observer)
        run.prepare()
        return run.finish()


def resume(out: Path, observer: Observer) -> TrainingResult:
    """Go on with the run in `out` where its last checkpoint stands."""
    folder = RunFolder(out)
    with folder.hold(resume=True):
        config = folder.read_config()
        request = _parse_request(config, out)
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
        self.folder, self.request, self.config = folder, request, config
        self.recipe = request.recipe
        observers: list[Observer] = [observer, TensorBoardRecorder(folder.logs)]
        self.mlflow = MlflowRecorder(request.out.name, config) if request.mlflow else None
        if self.mlflow:
            observers.append(self.mlflow)
        self.observer = Several(observers)
        self.device = choose_device(request.device)
        self.precision = choose_precision(self.recipe.precision, self.device)
        self.history: list[EpochRow] = []
        self.frame = pl.DataFrame()

    def prepare(self) -> None:
        """Read the data, settle splits and weights, and write what a resume needs."""
        request, say = self.request, self.observer.on_message
        collection = open_collection(request.data, request.options)
        manifest = build_manifest(collection, progress=self._report("Reading images"))
        split = resolve_splits(
            manifest.frame,
            collection.layout,
            ratios=self.recipe.ratios,
            grouping=Grouping(self.recipe.grouping),
            seed=request.seed,
        )
        notes = [*collection.notes, *manifest.notes, *split.notes]
        excluded = [*collection.skipped, *manifest.excluded]
        if excluded:
            notes.append(
                f"{len(excluded)} files were left out, the first is {excluded[0].path}: "
                f"{excluded[0].reason}"
            )
        for note in notes:
            say(note)
        self.frame = split.frame
        network = PneumoniaResNet50(self.recipe.dropout)
        test_hashes = self._select("test")["sha256"].to_list()
        origin = choose_weights(
            network,
            request.weights,
            test_hashes=test_hashes,
            allow_contamination=request.allow_contamination,
            seed=request.seed,
        )
        say(origin.note)
        if not origin.keeps_head:
            initialise_head(network, request.seed)
        recipe = self.recipe
        if origin.normalisation is not None:
            spec = recipe.preprocessing.model_copy(update={"normalisation": origin.normalisation})
            recipe = recipe.model_copy(update={"preprocessing": spec})
        if origin.name == "none" and any(stage.frozen_upto for stage in recipe.stages):
            say("The frozen layers start from random weights: their features mean little.")
        self.recipe = recipe
        self.config |= {
            "recipe": recipe.model_dump(mode="json"),
            "layout": collection.layout.value,
            "weights_taken": _describe_origin(origin),
            "notes": notes,
            "excluded": [
                dataclasses.asdict(entry) | {"path": str(entry.path)} for entry in excluded
            ],
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_manifest(self.frame, self.folder.manifest)
        self.folder.write_json(
            self.folder.environment, describe_environment(self.device, self.precision)
        )
        self._save_weights(self.folder.initial, network, sorted(origin.training_hashes))
        self.folder.write_config(self.config)  # last: a config means that the run can be resumed

    def reopen(self) -> None:
        """Read back what `prepare` wrote; say where the machine differs."""
        then = json.loads(self.folder.environment.read_text())
        now = describe_environment(self.device, self.precision)
        for difference in compare_environments(then, now):
            self.observer.on_message(
                f"Resumed elsewhere: {difference}; the last bits of the weights may differ."
            )
        self.frame = read_manifest(self.folder.manifest)

    def finish(self) -> TrainingResult:
        """Train what is left, save the bundle, evaluate, and clear what served resuming."""
        started = time.perf_counter()
        pixels = load_pixels(
            self.frame, self.recipe.preprocessing, progress=self._report("Preparing pixels")
        )
        network = PneumoniaResNet50(self.recipe.dropout).to(
            self.device, memory_format=torch.channels_last
        )
        tree = self._load_weights(self.folder.initial, network)
        trained_on = set(tree["training_hashes"])
        summaries = {}
        for stage in self.recipe.stages:
            summaries[stage.name] = self._train_stage(network, stage, pixels)
        predictions, points = self._predict(network, pixels)
        final = self.recipe.stages[-1].name
        seen = self.frame.filter(pl.col("split") != "test")["sha256"].to_list()
        info = self._describe_bundle(predictions, points[final], final)
        validation = predictions.filter((pl.col("stage") == final) & (pl.col("split") == "val"))
        bundle = save_bundle(
            self.folder.bundle,
            network,
            info,
            reference={
                "logits": validation["logit"].to_numpy().astype(np.float32),
                "labels": (validation["label"] == "PNEUMONIA").to_numpy().astype(np.int8),
            },
            training_hashes=trained_on | set(seen),
        )
        seconds = sum(row.seconds for row in self.history)
        metrics = write_evaluation(
            self.folder.path,
            predictions,
            points,
            final,
            self._describe_context(summaries, seconds),
            explainer=runtime.load(bundle.path),
        )
        if self.mlflow:
            self.mlflow.close()
        self.folder.clear_state()
        return TrainingResult(self.folder, metrics, summaries, time.perf_counter() - started)

    # -- stages -------------------------------------------------------------------------------

    def _train_stage(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> str:
        """Train a stage, or take it from where it stands; return how it ended, in words."""
        kept = self.folder.stage_weights(stage.name)
        if kept.is_file():
            return str(self._load_weights(kept, network)["summary"])
        state = None
        if self.folder.checkpoint.is_file():
            checkpoint = load_checkpoint(self.folder.checkpoint)
            self.history = [EpochRow(**row) for row in checkpoint.history]
            self.folder.write_history(self.history)
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
        self._save_weights(kept, network, [], summary=summary)
        self.observer.on_message(f"{stage.name}: {summary}.")
        return summary

    def _save_epoch(self, state: StageState, row: EpochRow) -> None:
        self.history.append(row)
        rows = [dataclasses.asdict(entry) for entry in self.history]
        save_checkpoint(self.folder.checkpoint, Checkpoint(state, rows))
        self.folder.write_history(self.history)

    def _keep_best(self, network: PneumoniaResNet50) -> None:
        """After Ctrl-C: leave the best weights so far as a file that other tools open."""
        if not self.folder.checkpoint.is_file():
            self.observer.on_message("Stopped before the first epoch was done; --resume starts it.")
            return
        from safetensors.torch import save_file

        best = load_checkpoint(self.folder.checkpoint).state.best
        with replace_atomically(self.folder.best) as temporary:
            save_file({name: value.contiguous() for name, value in best.items()}, temporary)
        self.observer.on_message(
            f"Stopped. The best weights so far are in {self.folder.best}; --resume goes on."
        )

    def _build_task(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> Task:
        train_rows, val_rows = self._find_rows("train"), self._find_rows("val")
        labels = self._read_labels()
        positives = int(labels[train_rows].sum())
        weight = 1.0
        if self.recipe.class_weighting is ClassWeighting.BALANCED:
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
            image_size=self.recipe.preprocessing.size,
            seed=self.request.seed,
            device=self.device,
            autocast=self._make_autocast(self.precision),
        )

    def _build_inputs(
        self, network: PneumoniaResNet50, stage: Stage, pixels: NDArray[np.uint8]
    ) -> Inputs:
        spec = self.recipe.preprocessing
        images = PixelInputs(pixels, spec, stage.augmentation, self.device)
        cut = {"layer4": POOLED}.get(stage.frozen_upto or "", stage.frozen_upto)
        if cut is None:
            return images
        autocast = self._make_autocast(self.precision)
        if self.recipe.cache and stage.augmentation is None and not stage.resolutions:
            stored = load_activations(
                network,
                images,
                cut,
                image_hashes=self.frame["sha256"].to_list(),
                spec=spec,
                autocast=autocast,
                device=self.device,
                progress=self._report(f"Computing what {stage.name} keeps frozen"),
            )
            if stored is not None:
                return stored
            self.observer.on_message("No room for the activation cache: computing them each epoch.")
        return FrozenInputs(network, images, cut, autocast)

    # -- results ------------------------------------------------------------------------------

    def _predict(
        self, network: PneumoniaResNet50, pixels: NDArray[np.uint8]
    ) -> tuple[pl.DataFrame, dict[str, dict[str, OperatingPoint]]]:
        """Judge every stage on validation and test, in fp32, with weights as the bundle stores
        them; the network is left with the last stage's."""
        images = PixelInputs(pixels, self.recipe.preprocessing, None, self.device)
        rows = np.concatenate([self._find_rows("val"), self._find_rows("test")])
        base = self.frame[rows.tolist()].select("path", "label", "split", "patient", "subtype")
        tables, points = [], {}
        for stage in self.recipe.stages:
            self._load_weights(self.folder.stage_weights(stage.name), network)
            _round_weights(network)
            task = Task(
                inputs=images,
                labels=self._read_labels(),
                train_rows=rows,
                val_rows=rows,
                positive_weight=1.0,
                image_size=self.recipe.preprocessing.size,
                seed=self.request.seed,
                device=self.device,
                autocast=self._make_autocast(Precision.FP32),
            )
            logits = predict_logits(network, task, rows, self.recipe.preprocessing.size)
            if not np.isfinite(logits).all():
                raise RunError(
                    f"The stage {stage.name} diverged: its answers are not numbers; "
                    f"try --set {stage.name}.learning_rate={stage.learning_rate / 10:g}."
                )
            probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
            table = base.with_columns(
                pl.lit(stage.name).alias("stage"),
                pl.Series("logit", logits),
                pl.Series("probability", probability),
            )
            tables.append(table)
            val = table.filter(pl.col("split") == "val")
            points[stage.name] = choose_operating_points(
                (val["label"] == "PNEUMONIA").to_numpy().astype(np.int64),
                val["probability"].to_numpy(),
                sensitivity=self.recipe.rule_out_sensitivity,
                specificity=self.recipe.rule_in_specificity,
            )
        return pl.concat(tables), points

    def _describe_bundle(
        self, predictions: pl.DataFrame, points: dict[str, OperatingPoint], final: str
    ) -> BundleInfo:
        return BundleInfo(
            name=self.request.out.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            preprocessing=self.recipe.preprocessing,
            calibration=Calibration(),
            operating_points={
                name: OperatingPointInfo(
                    threshold=point.threshold,
                    target=point.target,
                    sensitivity=point.sensitivity,
                    specificity=point.specificity,
                )
                for name, point in points.items()
            },
            metrics={},
            training={"final": final, **_without_paths(self.config)},
            data=DataInfo(
                layout=self.config["layout"],
                sources=self.frame["source"].unique().sort().to_list(),
                counts=self._count_images(),
                phantom=self._is_phantom(),
                allow_contamination=self.request.allow_contamination,
            ),
            warnings=self._list_warnings(),
            versions={
                "pneumoscope": __version__,
                **describe_environment(self.device, self.precision)["packages"],
            },
        )

    def _describe_context(self, summaries: dict[str, str], seconds: float) -> EvaluationContext:
        return EvaluationContext(
            title=f"Training run {self.request.out.name}",
            data_summary={
                "layout": self.config["layout"],
                "counts": self._count_images(),
                "sources": self.frame["source"].unique().sort().to_list(),
                "excluded": self.config["excluded"],
                "grouping": self.recipe.grouping,
                "seed": self.request.seed,
            },
            notes=[*self.config["notes"], self.config["weights_taken"]["note"]],
            warnings=self._list_warnings(),
            history=pl.DataFrame([dataclasses.asdict(row) for row in self.history]),
            stage_summaries=summaries,
            configuration=self.config,
            seconds=seconds,
            environment=describe_environment(self.device, self.precision),
        )

    # -- small things -------------------------------------------------------------------------

    def _select(self, split: str) -> pl.DataFrame:
        return self.frame.filter(pl.col("split") == split)

    def _find_rows(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero((self.frame["split"] == split).to_numpy())

    def _read_labels(self) -> NDArray[np.int64]:
        return (self.frame["label"] == "PNEUMONIA").to_numpy().astype(np.int64)

    def _is_phantom(self) -> bool:
        phantom_weights = bool(self.config["weights_taken"]["phantom"])
        return phantom_weights or "phantom" in self.frame["source"].to_list()

    def _count_images(self) -> dict[str, dict[str, int]]:
        counts = self.frame.group_by("split", "label").len().sort("split", "label")
        table: dict[str, dict[str, int]] = {"train": {}, "val": {}, "test": {}}
        for split, label, n in counts.iter_rows():
            table[split][label] = n
        return table

    def _list_warnings(self) -> list[str]:
        warnings = []
        if self._is_phantom():
            warnings.append("Trained on synthetic phantoms: for demonstrations and tests only.")
        if self.config["weights_taken"]["contaminated"]:
            warnings.append(
                f"The starting weights have seen {self.config['weights_taken']['contaminated']} "
                "of the test images (--allow-contamination): test numbers are too good."
            )
        if self.recipe.grouping == "image":
            warnings.append(
                "Split at random by image: patients straddle train and test, numbers are too good."
            )
        return warnings

    def _make_autocast(self, precision: Precision) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=precision is Precision.BF16)

    def _report(self, title: str) -> Callable[[int, int], None]:
        """Return a progress callback that says a sentence at the start of long work."""
        begun = False

        def progress(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                self.observer.on_message(f"{title} ({total}) …")
                begun = True

        return progress

    def _save_weights(
        self, path: Path, network: PneumoniaResNet50, training_hashes: list[str], summary: str = ""
    ) -> None:
        tree = {
            "network": network.state_dict(),
            "training_hashes": training_hashes,
            "summary": summary,
        }
        with replace_atomically(path) as temporary:
            torch.save(tree, temporary)

    def _load_weights(self, path: Path, network: PneumoniaResNet50) -> dict[str, Any]:
        try:
            tree: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            network.load_state_dict(tree["network"])
        except (OSError, RuntimeError, KeyError, EOFError) as error:
            raise RunError(f"{path} is damaged; start a new run in another folder.") from error
        return tree


def _summarise(stage: Stage, state: StageState) -> str:
    stopped = (
        f"stopped at epoch {state.epoch}"
        if state.epoch < stage.epochs
        else f"trained {state.epoch} epochs"
    )
    if stage.averaging:
        return f"{stopped}, averaged weights of epoch {state.best_epoch}"
    return f"{stopped}, best {state.best_epoch}"


def _round_weights(network: PneumoniaResNet50) -> None:
    """Round to fp16 as the bundle stores them, so that what is judged is what is saved."""
    state = network.state_dict()
    network.load_state_dict(
        {k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in state.items()}
    )


def _describe_request(request: TrainingRequest) -> dict[str, Any]:
    return {
        "data": str(request.data.resolve()),
        "weights": request.weights,
        "seed": request.seed,
        "device": request.device,
        "options": dataclasses.asdict(request.options),
        "allow_contamination": request.allow_contamination,
        "mlflow": request.mlflow,
        "recipe": request.recipe.model_dump(mode="json"),
    }


def _parse_request(config: dict[str, Any], out: Path) -> TrainingRequest:
    options = dict(config["options"])
    if options["layout"] is not None:
        options["layout"] = Layout(options["layout"])
    return TrainingRequest(
        data=Path(config["data"]),
        out=out,
        recipe=parse_recipe(config["recipe"], "config.yaml"),
        weights=config["weights"],
        seed=config["seed"],
        device=config["device"],
        options=CollectionOptions(**options),
        allow_contamination=config["allow_contamination"],
        mlflow=config["mlflow"],
    )


def _describe_origin(origin: WeightsOrigin) -> dict[str, Any]:
    return {
        "name": origin.name,
        "sha256": origin.sha256,
        "note": origin.note,
        "phantom": origin.phantom,
        "contaminated": origin.contaminated,
    }


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out what tells of the machine rather than of the training, and the long lists."""
    left_out = {"data", "notes", "excluded", "options"}
    return {key: value for key, value in config.items() if key not in left_out}
