"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.attention import (
    Attention,
    AttentionOptions,
    measure_attention,
    outline_lungs,
)
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle

__all__ = [
    "Attention",
    "AttentionOptions",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "equip_bundle",
    "evaluate_bundle",
    "measure_attention",
    "outline_lungs",
    "summarise",
    "write_evaluation",
]
