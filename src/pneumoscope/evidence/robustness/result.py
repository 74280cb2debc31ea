"""What robustness found: numbers at every strength, what breaks a model, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pneumoscope.evaluation import Estimate
from pneumoscope.evaluation.paired_drop import Drop
from pneumoscope.evidence.robustness.distortions import Square
from pneumoscope.evidence.robustness.shifts import Shift

SCHEMA = "pneumoscope.robustness/1"
#: A shift breaks a model where it costs at least so much, and the interval of the loss excludes 0.
TOLERANCES = {"auc": 0.02, "sensitivity": 0.05, "specificity": 0.1}
NAMES = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}


@dataclass(frozen=True)
class Level:
    """What the model gives at one strength of one shift."""

    strength: int
    """1..5; 0 is unshifted."""
    amount: float | None
    """The strength in the unit of the shift; None where unshifted."""
    numbers: dict[str, Estimate]
    """auc, sensitivity and specificity at the threshold that decides alone, past the gate."""
    drops: dict[str, Drop]
    """What each lost against the unshifted; empty at strength 0."""
    by_band: dict[str, Estimate]
    """sensitivity, specificity and referred by the referral band, past the gate."""
    as_decided: dict[str, Estimate] | None
    """The same as `predict` would decide, with rejected and outside_population; None of a model
    that has no gate."""

    @property
    def broken(self) -> list[str]:
        """The numbers that lost more than they may, worst first."""
        lost = {
            name: drop.value / TOLERANCES[name]
            for name, drop in self.drops.items()
            if drop.value >= TOLERANCES[name] and drop.interval.low > 0
        }
        return sorted(lost, key=lambda name: -lost[name])

    @property
    def stopped(self) -> float | None:
        """Share that gate or population check would not answer; None without them."""
        if self.as_decided is None:
            return None
        return sum(self.as_decided[n].value or 0.0 for n in ("rejected", "outside_population"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `robustness.json`."""

        def plain(numbers: Mapping[str, Estimate]) -> dict[str, Any]:
            return {name: number.to_dict() for name, number in numbers.items()}

        return {
            "strength": self.strength,
            "amount": self.amount,
            **plain(self.numbers),
            "drops": plain({name: Estimate(*drop) for name, drop in self.drops.items()}),
            "by_band": plain(self.by_band),
            "as_decided": None if self.as_decided is None else plain(self.as_decided),
            "stopped": self.stopped,
            "broken": self.broken,
        }


@dataclass(frozen=True)
class ShiftResult:
    """One shift at its five strengths."""

    shift: Shift
    levels: tuple[Level, ...]

    @property
    def breaks_at(self) -> Level | None:
        """The weakest strength that breaks the model."""
        return next((level for level in self.levels if level.broken), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `robustness.json`."""
        broken = self.breaks_at
        return {
            "name": self.shift.name,
            "title": self.shift.title,
            "unit": self.shift.unit,
            "meaning": self.shift.meaning,
            "breaks_at": broken and broken.strength,
            "levels": [level.to_dict() for level in self.levels],
        }


#: So few images of a class show a loss of 0.1 only where nearly all answers change.
_FEW = 50


@dataclass(frozen=True)
class RobustnessResult:
    """A model under all shifts."""

    images: int
    pneumonias: int
    patients: int
    """Known or not: an image of an unknown patient counts as one."""
    seed: int
    thresholds: dict[str, float]
    """balanced, rule_out and rule_in."""
    unshifted: Level
    shifts: tuple[ShiftResult, ...]
    example: Square = field(repr=False)
    """A pneumonia of middling probability, uint8 [size, size], to show the shifts on."""

    @property
    def names(self) -> dict[str, str]:
        """What people call the numbers that are watched."""
        return NAMES

    @property
    def tolerances(self) -> dict[str, float]:
        """What a shift may cost, by the names that people use."""
        return {NAMES[name]: limit for name, limit in TOLERANCES.items()}

    @property
    def ordered(self) -> list[ShiftResult]:
        """All shifts: those that break the model first, then the others as they come."""
        return [*self.ranking, *(found for found in self.shifts if found.breaks_at is None)]

    @property
    def ranking(self) -> list[ShiftResult]:
        """The shifts that break the model: the weakest strength first, then the largest loss."""
        broken = [(result.breaks_at, result) for result in self.shifts]

        def measure(entry: tuple[Level, ShiftResult]) -> tuple[int, float]:
            level, _ = entry
            worst = level.broken[0]
            return level.strength, -level.drops[worst].value / TOLERANCES[worst]

        found = [(level, result) for level, result in broken if level is not None]
        return [result for _, result in sorted(found, key=measure)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `robustness.json`."""
        return {
            "schema": SCHEMA,
            "images": self.images,
            "pneumonias": self.pneumonias,
            "patients": self.patients,
            "seed": self.seed,
            "thresholds": self.thresholds,
            "tolerances": TOLERANCES,
            "breaks_first": [result.shift.name for result in self.ranking],
            "sentence": self.describe(),
            "unshifted": self.unshifted.to_dict(),
            "shifts": [result.to_dict() for result in self.shifts],
        }

    def summarise(self) -> dict[str, Any]:
        """Return what stands in `metrics.json`."""
        names = ("images", "pneumonias", "seed", "tolerances", "breaks_first", "sentence")
        tree = self.to_dict()
        breaks_at = {r.shift.name: r.breaks_at and r.breaks_at.strength for r in self.shifts}
        return {name: tree[name] for name in names} | {"breaks_at": breaks_at}

    def describe(self) -> str:
        """Say in a sentence what breaks the model first."""
        if not self.ranking:
            limits = [f"{limit:g} of {name}" for name, limit in self.tolerances.items()]
            text = (
                "No shift breaks it at any of five strengths: none was shown to cost "
                f"{', '.join(limits)}."
            )
            fewest = min(self.pneumonias, self.images - self.pneumonias)
            if fewest < _FEW:
                text += f" With {fewest} images of a class little could have been shown."
            return text
        first = self.ranking[0]
        level = first.breaks_at
        assert level is not None  # it is in the ranking
        name = level.broken[0]
        before, after = self.unshifted.numbers[name].value, level.numbers[name].value
        low, high = level.drops[name].interval.low, level.drops[name].interval.high
        text = (
            f"What breaks it first: {first.shift.title}, at strength {level.strength} of 5 "
            f"({first.shift.describe(level.amount or 0.0)}): {NAMES[name]} falls from "
            f"{before:.3f} to {after:.3f} (by {level.drops[name].value:.3f}, "
            f"95 % interval {low:.3f}–{high:.3f})"
        )
        if level.stopped is None:
            return f"{text}."
        return (
            f"{text}; the input gate and the population check would stop {level.stopped:.0%} of "
            "these images."
        )
