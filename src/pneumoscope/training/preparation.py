"""Before the first epoch: data, split, starting weights, and all that a resume needs on disk."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pneumoscope.datasets import (
    Grouping,
    build_manifest,
    open_collection,
    resolve_splits,
    write_manifest,
)
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
from pneumoscope.training.request import TrainingRequest


def prepare_run(
    folder: RunFolder, request: TrainingRequest, facts: RunFacts, observer: Observer
) -> None:
    """Read the data, settle splits and weights, complete the facts, and write them."""
    say = observer.on_message
    collection = open_collection(
        request.data, request.options, progress=report_progress(observer, "Unpacking")
    )
    manifest = build_manifest(collection, progress=report_progress(observer, "Reading images"))
    split = resolve_splits(
        manifest.frame,
        collection.layout,
        ratios=facts.recipe.ratios,
        grouping=Grouping(facts.recipe.grouping),
        seed=request.seed,
    )
    notes = [*collection.notes, *manifest.notes, *split.notes]
    excluded = [*collection.skipped, *manifest.excluded]
    for note in notes:
        say(note)
    facts.frame = split.frame
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
        "layout": collection.layout.value,
        "weights_taken": _describe_origin(origin),
        "device_taken": facts.device.type,
        "precision_taken": facts.precision.value,
        "notes": notes,
        "excluded": [dataclasses.asdict(entry) | {"path": str(entry.path)} for entry in excluded],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_manifest(facts.frame, folder.manifest)
    folder.write_json(folder.environment, describe_environment(facts.device, facts.precision))
    seen = dataclasses.asdict(origin.training_images)
    save_weights(folder.initial, network, training_images=seen)
    folder.write_config(facts.config)  # last: a config means that the run can be resumed


def _describe_origin(origin: WeightsOrigin) -> dict[str, Any]:
    return {
        "name": origin.name,
        "sha256": origin.sha256,
        "note": origin.note,
        "phantom": origin.phantom,
        "contaminated": origin.contaminated,
    }
