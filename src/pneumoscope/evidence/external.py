"""External validation: what a model loses elsewhere, against what it reached at home."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pneumoscope.errors import DataError
from pneumoscope.evaluation import Interval

#: The numbers compared, as `metrics.json` calls them and as people do.
_NUMBERS = {"auc": "AUC", "recall": "sensitivity", "specificity": "specificity"}
#: The part that stands for home, the most honest first; `unseen` leaves out what was seen.
_PARTS = ("unseen", "test", "all", "val")
_SAME = 1e-9


@dataclass(frozen=True)
class InternalNumbers:
    """What a model reached at home."""

    split: str
    numbers: Mapping[str, Any]
    """As `metrics.json` has them: n, threshold, auc, recall, specificity, intervals."""
    notes: tuple[str, ...] = ()
    """What speaks against taking them at their word."""
    sha256: frozenset[str] = frozenset()
    """Of the images at home, where its predictions are kept."""


@dataclass(frozen=True)
class Drop:
    """One number at home and elsewhere, and what is lost between."""

    name: str
    internal: float | None
    internal_interval: Interval | None
    external: float | None
    external_interval: Interval | None
    drop: float | None
    """Internal minus external: positive is a loss."""
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with texts for people."""
        return {
            "name": self.name,
            "title": _NUMBERS[self.name],
            "internal": self.internal,
            "internal_interval": self.internal_interval and self.internal_interval.to_list(),
            "external": self.external,
            "external_interval": self.external_interval and self.external_interval.to_list(),
            "drop": self.drop,
            "interval": self.interval and self.interval.to_list(),
            "internal_text": _describe(self.internal, self.internal_interval),
            "external_text": _describe(self.external, self.external_interval),
            "drop_text": _describe(self.drop, self.interval, sign="+"),
        }


@dataclass(frozen=True)
class ExternalComparison:
    """The drops, in the order in which they are told."""

    internal_split: str
    internal_n: int
    external_n: int
    drops: tuple[Drop, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the tree `external` of `metrics.json`."""
        return {
            "internal_split": self.internal_split,
            "internal_n": self.internal_n,
            "external_n": self.external_n,
            "drops": [drop.to_dict() for drop in self.drops],
            "notes": list(self.notes),
        }


def read_internal(folder: Path, threshold: float) -> InternalNumbers:
    """Return the numbers of an evaluation, or of a run, of the bundle with this threshold.

    Raises
    ------
    DataError
        There is no evaluation in the folder, or it is one of another bundle or precision.
    """
    file = folder / "metrics.json"
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        parts = tree[tree["final"]]
        split = next(name for name in _PARTS if name in parts)
        numbers = parts[split]
        found = float(numbers["threshold"])
        if not set(_NUMBERS) <= set(numbers) or not {"n", "intervals"} <= set(numbers):
            raise KeyError("numbers")
    except OSError as error:
        raise DataError(
            f"{folder} is no evaluation: {file.name} cannot be read ({error.strerror or error}); "
            "give the --out folder of `pneumoscope evaluate`."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(
            f"{file} holds no numbers of an evaluation; give the --out folder of `pneumoscope "
            "evaluate`."
        ) from error
    if abs(found - threshold) > _SAME:
        raise DataError(
            f"{folder} judged another bundle or precision: it decided at {found:.6g}, this one "
            f"decides at {threshold:.6g}. Evaluate the same bundle at home first."
        )
    return InternalNumbers(split, numbers, _list_doubts(folder, split), _read_images(folder))


def _list_doubts(folder: Path, split: str) -> tuple[str, ...]:
    doubts = []
    if split == "val":
        doubts.append("At home there is only the part that set the thresholds: too good.")
    try:
        columns = pl.read_csv(folder / "predictions.csv", infer_schema=False, glob=False)
    except (OSError, pl.exceptions.PolarsError):
        return tuple(doubts)
    if split != "unseen" and "seen" in columns.columns:
        seen = int((columns["seen"] == "true").sum())
        if seen:
            doubts.append(
                f"At home {seen} of {columns.height} images were among those that the bundle was "
                "trained or chosen on: the drop is overstated."
            )
    return tuple(doubts)


def _read_images(folder: Path) -> frozenset[str]:
    try:
        table = pl.read_csv(folder / "predictions.csv", columns=["sha256"], glob=False)
    except (OSError, pl.exceptions.PolarsError):
        return frozenset()
    return frozenset(table["sha256"].drop_nulls().to_list())


def find_shared(internal: InternalNumbers, sha256: pl.Series) -> str | None:
    """Say how many images are of home too, so that nothing is elsewhere; None where none is."""
    shared = len(internal.sha256 & set(sha256.to_list()))
    if not shared:
        return None
    return (
        f"{shared} of these {len(sha256)} images are also those of the evaluation at home: they "
        "are not elsewhere, and the drop and its interval mean nothing."
    )


def compare_external(internal: InternalNumbers, external: Mapping[str, Any]) -> ExternalComparison:
    """Return what is lost elsewhere.

    The images are others, and so are the patients: the samples are independent, and nothing is
    paired. Each number's own interval (from a bootstrap over patients where they are known) is
    carried over to the difference by its two distances (`subtract_intervals`).

    Parameters
    ----------
    external
        The numbers of elsewhere, as `metrics.json` has them.
    """
    drops = []
    for name in _NUMBERS:
        home, here = internal.numbers[name], external[name]
        ends, here_ends = (_read_interval(tree, name) for tree in (internal.numbers, external))
        drop = interval = None
        if home is not None and here is not None:
            drop = home - here
            if ends and here_ends:
                interval = subtract_intervals(home, ends, here, here_ends)
        drops.append(Drop(name, home, ends, here, here_ends, drop, interval))
    return ExternalComparison(
        internal.split, internal.numbers["n"], external["n"], tuple(drops), internal.notes
    )


def subtract_intervals(
    one: float, one_interval: Interval, other: float, other_interval: Interval
) -> Interval:
    """Return the interval of `one - other` of two independent samples, from those of each.

    Square-and-add of the distances (MOVER; Zou and Donner 2008, doi:10.1002/sim.3095), which from
    Wilson's intervals is Newcombe's hybrid score interval (1998, method 10). It keeps the shape of
    skewed intervals, and does not collapse where one sample shows no error.
    """
    difference = one - other
    low = difference - math.hypot(one - one_interval.low, other_interval.high - other)
    high = difference + math.hypot(one_interval.high - one, other - other_interval.low)
    return Interval(low, high)


def _read_interval(numbers: Mapping[str, Any], name: str) -> Interval | None:
    ends = numbers["intervals"].get(name)
    return Interval(*ends) if ends else None


def _describe(value: float | None, interval: Interval | None, sign: str = "") -> str:
    if value is None:
        return "–"
    text = f"{value:{sign}z.3f}"
    if interval is None:
        return text
    between = " to " if sign else "–"
    return f"{text} ({interval.low:{sign}z.3f}{between}{interval.high:{sign}z.3f})"
