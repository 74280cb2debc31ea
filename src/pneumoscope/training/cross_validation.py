"""Cross-validation: one run a seed and fold; every image is judged by a model that never saw it.

A fold is a run folder like any other. What is interrupted goes on where it stood: finished folds
are kept, the fold under way is resumed, the others are started.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pneumoscope.datasets import (
    Grouping,
    Layout,
    Skipped,
    assign_folds,
    check_folds,
    check_splits,
    list_folds,
    read_folds,
    read_manifest,
    split_by_fold,
    write_manifest,
    write_split_file,
)
from pneumoscope.errors import DataError, RunError
from pneumoscope.evidence import (
    OUT_OF_FOLD,
    CrossValidationContext,
    FoldRun,
    write_cross_validation,
)
from pneumoscope.training.cross_validation_folder import CrossValidationFolder
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.loop import Observer
from pneumoscope.training.preparation import (
    SplitData,
    bring_back_images,
    describe_excluded,
    guard_against_leakage,
    read_data,
)
from pneumoscope.training.request import (
    TrainingRequest,
    check_same_request,
    describe_request,
    parse_request,
)
from pneumoscope.training.run import resume, train


@dataclass(frozen=True)
class CrossValidationRequest:
    """What a cross-validation is asked to do."""

    run: TrainingRequest
    """What every run has in common; `seed` is the first seed, `out` the folder of all."""
    folds: int
    seeds: int = 1

    def list_seeds(self) -> list[int]:
        """Return the seeds: so many, from that of the run on."""
        return [self.run.seed + i for i in range(self.seeds)]


@dataclass(frozen=True)
class CrossValidationResult:
    """Where everything is, and what came out."""

    folder: CrossValidationFolder
    numbers: dict[str, Any]
    """The tree of `cross_validation.json`."""
    excluded: tuple[Skipped, ...]


def cross_validate(request: CrossValidationRequest, observer: Observer) -> CrossValidationResult:
    """Start a cross-validation in `request.run.out` and bring it to its end.

    The folds that the data brings (column `fold`) are taken as they are, for every seed; without
    any, each seed draws its own, by the recipe's grouping.

    Raises
    ------
    RunError
        The folder is in use, finished, or not empty.
    DataError, WeightsError
        The data or the weights cannot be used as they are, or the folds leak.
    """
    if request.seeds < 1:
        raise DataError(f"--seeds takes a number of at least 1, found {request.seeds}.")
    folder = CrossValidationFolder(request.run.out)
    with folder.hold(resume=False):
        _prepare(folder, request, observer)
        return _CrossValidation(folder, request, observer).finish()


def resume_cross_validation(
    out: Path,
    observer: Observer,
    again: CrossValidationRequest | None = None,
    *,
    device: str | None = None,
) -> CrossValidationResult:
    """Go on with the cross-validation in `out`: finished folds are kept.

    Parameters
    ----------
    again
        The request once more, as a person repeats a command; it must ask for the same.
    device
        Where to go on; by default as it was started.

    Raises
    ------
    RunError
        The folder is in use, finished, damaged, or holds none; another one is asked for.
    """
    folder = CrossValidationFolder(out)
    with folder.hold(resume=True):
        config = folder.read_config()
        run = parse_request(config["run"], out)
        request = CrossValidationRequest(run, config["folds"], len(config["seeds"]))
        if again is not None:
            check_same_request(config["run"], again.run)
            if (again.folds, again.seeds) != (request.folds, request.seeds):
                raise RunError(
                    f"{out} was started with --folds {request.folds} --seeds {request.seeds}: "
                    "--resume goes on as it was started, choose another --out for a new one."
                )
        if device is not None:
            run = dataclasses.replace(run, device=device)
            request = dataclasses.replace(request, run=run)
        return _CrossValidation(folder, request, observer).finish()


def _prepare(
    folder: CrossValidationFolder, request: CrossValidationRequest, observer: Observer
) -> None:
    """Read the data, settle and check the folds of every seed, and write what a resume needs."""
    data = read_data(request.run, observer)
    frame, notes = data.frame, [*data.notes]
    given = frame["fold"].null_count() < frame.height
    if frame["split"].null_count() < frame.height:
        notes.append(
            "The splits that the data brings are not used: every image is tested once a seed."
        )
    grouping = Grouping(request.run.recipe.grouping)
    if given:
        check_folds(frame, request.folds)
        notes.append(f"The {request.folds} folds that the data brings are kept.")
    else:
        notes.append(f"{request.folds} folds by {grouping.value}, drawn anew by every seed.")
    for seed in request.list_seeds():
        folded = (
            frame if given else assign_folds(frame, request.folds, grouping=grouping, seed=seed)
        )
        for fold in list_folds(folded):
            split = _split(folded, fold, request.run, seed)
            check_splits(split, request.run.recipe.ratios)
            guard_against_leakage(split, request.run)
        write_split_file(folded, folder.folds(seed), "fold")
    for note in notes:
        observer.on_message(note)
    write_manifest(frame, folder.manifest)
    folder.write_config(
        {
            "folds": request.folds,
            "seeds": request.list_seeds(),
            "names": list_folds(folded),
            "folds_given": given,
            "layout": data.layout.value,
            "notes": notes,
            "excluded": describe_excluded(data.excluded),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": describe_request(request.run),
        }
    )


def _split(frame: pl.DataFrame, fold: str, run: TrainingRequest, seed: int) -> pl.DataFrame:
    """Return the manifest with this fold as test; validation in its share of the whole."""
    train, val, _ = run.recipe.ratios
    return split_by_fold(
        frame,
        fold,
        {"train": train, "val": val},
        grouping=Grouping(run.recipe.grouping),
        seed=seed,
    )


class _CrossValidation:
    """A cross-validation whose folds are settled: trained where it is not, then pooled."""

    def __init__(
        self, folder: CrossValidationFolder, request: CrossValidationRequest, observer: Observer
    ) -> None:
        self.folder, self.request, self.observer = folder, request, observer
        self.config = folder.read_config()
        self.names: list[str] = self.config["names"]
        self.frame = read_manifest(folder.manifest)

    def finish(self) -> CrossValidationResult:
        """Train what is left, and write what all folds say together."""
        bring_back_images(self.frame, self.request.run)
        places = [
            (seed, index) for seed in self.request.list_seeds() for index in range(len(self.names))
        ]
        for done, (seed, index) in enumerate(places):
            if self.folder.run(seed, index).is_finished:
                continue
            self.observer.on_message(
                f"Seed {seed}, fold {self.names[index]}: {done + 1} of {len(places)}."
            )
            try:
                self._train(seed, index)
            except KeyboardInterrupt:
                self.observer.on_message(
                    f"{self._count_finished(places)} of {len(places)} folds are finished and kept."
                )
                raise
        runs, tables = self._collect(places)
        numbers = write_cross_validation(
            self.folder.path, runs, pl.concat(tables), self._describe(places)
        )
        excluded = tuple(Skipped(**entry) for entry in self.config["excluded"])
        return CrossValidationResult(self.folder, numbers, excluded)

    def _train(self, seed: int, index: int) -> None:
        folder = self.folder.run(seed, index)
        if folder.config.is_file():
            resume(folder.path, self.observer, device=self.request.run.device)
            return
        fold_of = read_folds(self.folder.folds(seed))
        folded = self.frame.with_columns(
            pl.Series("fold", [fold_of[path] for path in self.frame["path"]], dtype=pl.String)
        )
        name = self.names[index]
        note = (
            f"Fold {name} of {len(self.names)} is the test part; validation is drawn from the "
            f"others by {self.request.run.recipe.grouping} with seed {seed}."
        )
        data = SplitData(
            _split(folded, name, self.request.run, seed),
            Layout(self.config["layout"]),
            (*self.config["notes"], note),
            tuple(Skipped(**entry) for entry in self.config["excluded"]),
        )
        run = dataclasses.replace(
            self.request.run,
            out=folder.path,
            seed=seed,
            name=f"{self.folder.path.absolute().name}-seed-{seed}-fold-{index}",
        )
        train(run, self.observer, data)

    def _count_finished(self, places: Sequence[tuple[int, int]]) -> int:
        return sum(self.folder.run(*place).is_finished for place in places)

    def _collect(
        self, places: Sequence[tuple[int, int]]
    ) -> tuple[list[FoldRun], list[pl.DataFrame]]:
        runs, tables = [], []
        for seed, index in places:
            folder = self.folder.run(seed, index)
            metrics = _read_metrics(folder)
            test = metrics[metrics["final"]]["test"]
            place = str(folder.path.relative_to(self.folder.path))
            runs.append(FoldRun(seed, self.names[index], place, test))
            predictions = pl.read_csv(
                folder.path / "predictions.csv",
                schema_overrides={"patient": pl.String, "subtype": pl.String},
            )
            kept = predictions.filter(stage=metrics["final"], split="test")
            tables.append(
                kept.with_columns(
                    pl.lit(self.names[index]).alias("fold"),
                    pl.lit(seed).alias("seed"),
                    pl.lit(test["threshold"]).alias("threshold"),
                ).select(OUT_OF_FOLD)
            )
        return runs, tables

    def _describe(self, places: Sequence[tuple[int, int]]) -> CrossValidationContext:
        warnings: list[str] = []
        for place in places:
            info = json.loads((self.folder.run(*place).bundle / "bundle.json").read_text("utf-8"))
            warnings += info["warnings"]
        said = {text.partition(":")[0]: text for text in reversed(warnings)}
        return CrossValidationContext(
            title=f"Cross-validation {self.folder.path.absolute().name}",
            grouping=self.request.run.recipe.grouping,
            folds_given=self.config["folds_given"],
            notes=self.config["notes"],
            warnings=list(reversed(said.values())),
        )


def _read_metrics(folder: RunFolder) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads(folder.metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.metrics} is missing or damaged.") from error
    return metrics
