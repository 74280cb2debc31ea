"""What stands around the numbers of an evaluation: data, limits, history, configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from pneumoscope.bundle import CardFacts
from pneumoscope.evidence.external import InternalNumbers
from pneumoscope.evidence.robustness.result import RobustnessResult

if TYPE_CHECKING:
    from pneumoscope.evidence.attention.measurement import Attention


@dataclass(frozen=True)
class EvaluationContext:
    """What a reader must know to judge the numbers."""

    title: str
    data_summary: dict[str, Any]
    """layout, counts (split → label → n), sources, excluded, characteristics, fingerprint. The
    notes say how the split came about."""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What invalidates or limits the numbers; printed at the top."""
    history: pl.DataFrame | None = None
    stage_summaries: dict[str, str] = field(default_factory=dict)
    best_epochs: dict[str, int] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    comparison: dict[str, Any] | None = None
    """The tree of `comparison.json`, where an earlier evaluation was asked about."""
    model_facts: list[str] = field(default_factory=list)
    """What the makers of a model say of it."""
    not_available: list[str] = field(default_factory=list)
    """What a reader may look for, and the model cannot give."""
    thresholds: str = "Thresholds were chosen on validation images, never on test images."
    """Where they come from."""
    card: CardFacts | None = None
    """What people state about the model."""
    preprocessing: dict[str, Any] | None = None
    """How an image becomes the network's input."""
    training: dict[str, Any] = field(default_factory=dict)
    """How the model was trained, where its bundle says so."""
    internal: InternalNumbers | None = None
    """What the model reached at home, where the images are of elsewhere."""
    robustness: RobustnessResult | None = None
    attention: Attention | None = None
    """Whether the model looks at the lungs, where that was asked."""
