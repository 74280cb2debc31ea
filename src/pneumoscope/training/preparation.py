"""Before the first epoch: data, split, starting weights, and all that a resume needs on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pneumoscope.datasets import (
    Grouping,
    Layout,
    Skipped,
    build_manifest,
    find_leakage,
    open_collection,
    resolve_splits,
    split_ref,
    write_manifest,
)
from pneumoscope.errors import DataError
from pneumoscope.network import (
    PneumoniaResNet50,
    WeightsOrigin,
    choose_weights,
    initialise_head,
)
from pneumoscope.training.checkpoint import save_weights
from pneumoscope.training.environment import describe_environment
from pneumoscope.training.facts import RunFacts
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.loop import Observer, report_progress
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.request import TrainingRequest


@dataclass(frozen=True)
class SplitData:
    """Images with their split, and what should be said about both."""

    frame: pl.DataFrame
    """A manifest; `split` is filled."""
    layout: Layout
    notes: tuple[str, ...]
    excluded: tuple[Skipped, ...]


def read_data(request: TrainingRequest, observer: Observer) -> SplitData:
    """Read every image once; splits are as the data brings them, if it does."""
    collection = open_collection(
        request.data, request.options, progress=report_progress(observer, "Unpacking")
    )
    manifest = build_manifest(collection, progress=report_progress(observer, "Reading images"))
    return SplitData(
        manifest.frame,
        collection.layout,
        (*collection.notes, *manifest.notes),
        (*collection.skipped, *manifest.excluded),
    )


def split_data(data: SplitData, recipe: Recipe, seed: int) -> SplitData:
    """Settle the splits of data that was read."""
    split = resolve_splits(
        data.frame,
        data.layout,
        ratios=recipe.ratios,
        grouping=Grouping(recipe.grouping),
        seed=seed,
    )
    notes = [*data.notes, *split.notes]
    if data.frame["fold"].null_count() < data.frame.height:
        notes.append("The folds that the data brings are not used: they are for --folds.")
    return dataclasses.replace(data, frame=split.frame, notes=tuple(notes))


def guard_against_leakage(frame: pl.DataFrame, request: TrainingRequest) -> str | None:
    """Return what is on both sides of the split, in a sentence; None where nothing is.

    Raises
    ------
    DataError
        Something is, and `--allow-leakage` does not take it.
    """
    leakage = find_leakage(frame)
    if leakage and not request.allow_leakage:
        way_out = "split anew with `pneumoscope data split`"
        if request.recipe.grouping == Grouping.IMAGE:
            way_out = "leave out grouping=image, which tears patients apart"
        raise DataError(
            f"{leakage.describe()} Numbers from this split would be too good: {way_out}, or take "
            "it as it is with --allow-leakage; every report will say so."
        )
    return leakage.describe() if leakage else None


def prepare_run(
    folder: RunFolder,
    request: TrainingRequest,
    facts: RunFacts,
    observer: Observer,
    data: SplitData | None = None,
) -> None:
    """Read the data, settle splits and weights, complete the facts, and write them.

    `data` is what was read and split before.
    """
    say = observer.on_message
    told = 0
    if data is None:
        data = split_data(read_data(request, observer), facts.recipe, request.seed)
    else:
        told = len(data.notes) - 1  # only how it was split is news
    notes = [*data.notes]
    for note in notes[told:]:
        say(note)
    facts.frame = data.frame
    leakage = guard_against_leakage(data.frame, request)
    if leakage:
        say(f"{leakage} Taken as it is (--allow-leakage).")
    network = PneumoniaResNet50(facts.recipe.dropout)
    origin = choose_weights(
        network,
        request.weights,
        test_images=facts.read_hashes(pl.col("split") == "test"),
        allow_contamination=request.allow_contamination,
        seed=request.seed,
        progress=report_progress(observer, "Downloading weights"),
    )
    say(origin.note)
    if not origin.keeps_head:
        initialise_head(network, request.seed)
    recipe = facts.recipe
    wanted = recipe.preprocessing.normalisation
    if origin.normalisation not in {None, wanted}:
        say(f"Pixels are normalised as the weights want it: {origin.normalisation}, not {wanted}.")
    if origin.normalisation is not None:
        spec = recipe.preprocessing.model_copy(update={"normalisation": origin.normalisation})
        recipe = recipe.model_copy(update={"preprocessing": spec})
    if origin.name == "none" and any(stage.frozen_upto for stage in recipe.stages):
        notes.append("The frozen layers start from random weights: their features mean little.")
        say(notes[-1])
    facts.recipe = recipe
    facts.config |= {
        "recipe": recipe.model_dump(mode="json"),
        "layout": data.layout.value,
        "leakage": leakage,
        "weights_taken": _describe_origin(origin),
        "device_taken": facts.device.type,
        "precision_taken": facts.precision.value,
        "notes": notes,
        "excluded": describe_excluded(data.excluded),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_manifest(facts.frame, folder.manifest)
    folder.write_json(folder.environment, describe_environment(facts.device, facts.precision))
    seen = dataclasses.asdict(origin.training_images)
    save_weights(folder.initial, network, training_images=seen)
    folder.write_config(facts.config)  # last: a config means that the run can be resumed


def bring_back_images(frame: pl.DataFrame, request: TrainingRequest) -> None:
    """Unpack an archive again that was unpacked in the cache, if the cache was cleared since."""
    if not Path(split_ref(frame["path"][0])[0]).exists():
        open_collection(request.data, request.options)


def describe_excluded(excluded: Iterable[Skipped]) -> list[dict[str, Any]]:
    """Return files that were left out as plain values."""
    return [dataclasses.asdict(entry) | {"path": str(entry.path)} for entry in excluded]


def _describe_origin(origin: WeightsOrigin) -> dict[str, Any]:
    return {
        "name": origin.name,
        "sha256": origin.sha256,
        "note": origin.note,
        "phantom": origin.phantom,
        "contaminated": origin.contaminated,
    }
