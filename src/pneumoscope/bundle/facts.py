"""What goes into a bundle beside its training: people's words, and numbers by fold of blocks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import ValidationError

from pneumoscope._extras import require_extra
from pneumoscope.bundle.schema import (
    FOLD_NUMBERS,
    BlockFolds,
    CardFacts,
    FoldInfo,
    FoldNumber,
    LicenceInfo,
)
from pneumoscope.errors import BundleError


class _CardFile(CardFacts):
    """A file of facts may state the licence too, which has its own place in the bundle."""

    licence: LicenceInfo | None = None


def summarise_folds(folds: Sequence[FoldInfo]) -> BlockFolds:
    """Return the folds with mean and spread of every number that all of them have."""
    values: dict[FoldNumber, list[float]] = {}
    for name in FOLD_NUMBERS:
        found = [getattr(fold, name) for fold in folds]
        if None not in found:
            values[name] = found
    return BlockFolds(
        folds=list(folds),
        mean={name: fmean(found) for name, found in values.items()},
        spread={name: stdev(found) for name, found in values.items() if len(found) > 1},
    )


def read_folds(runs: Iterable[str | os.PathLike[str]]) -> BlockFolds:
    """Return what runs, each trained without the blocks of its test part, say of that part.

    Raises
    ------
    BundleError
        A run has no `metrics.json`, or no test part that its thresholds decided about.
    """
    return summarise_folds([_read_fold(Path(run)) for run in runs])


def read_facts(path: str | os.PathLike[str]) -> tuple[CardFacts, LicenceInfo | None]:
    """Return the facts of a YAML or JSON file, and the licence that it may state.

    Raises
    ------
    BundleError
        The file cannot be read, or says something that no card has a place for.
    """
    file = Path(path)
    try:
        tree = _parse(file)
        stated = _CardFile.model_validate(tree)
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"The facts in {file} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise BundleError(
            f"{file} states no facts for a card, at {place}: {first['msg']}; allowed are "
            f"{', '.join(_CardFile.model_fields)}."
        ) from error
    return CardFacts(**stated.model_dump(exclude={"licence"})), stated.licence


def _parse(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise BundleError(f"{file} is no JSON ({error}).") from error
    require_extra("train", "yaml", purpose="Reading YAML")
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BundleError(f"{file} is no YAML ({' '.join(str(error).split())}).") from error


def _read_fold(run: Path) -> FoldInfo:
    file = run / "metrics.json"
    try:
        tree: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        numbers = tree[tree["final"]]["test"]
        decided = numbers["as_decided"]
        intervals = {"auc": numbers["intervals"].get("auc"), **decided["intervals"]}
        return FoldInfo(
            name=run.name,
            n=numbers["n"],
            auc=numbers["auc"],
            **{name: decided[name] for name in FOLD_NUMBERS if name != "auc"},
            intervals={name: intervals.get(name) for name in FOLD_NUMBERS},
        )
    except OSError as error:
        raise BundleError(
            f"{run} is no finished run: {file.name} cannot be read ({error.strerror or error})."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{file} has no decisions about a test part; a fold is a run whose test part is "
            "blocks that its training never saw."
        ) from error
