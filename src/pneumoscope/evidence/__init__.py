"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.attention import (
    Attention,
    AttentionOptions,
    measure_attention,
)
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle
from pneumoscope.evidence.influence import measure_localisation, read_lesion
from pneumoscope.evidence.lungs import LungMasks, outline_lungs

__all__ = [
    "Attention",
    "AttentionOptions",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "LungMasks",
    "equip_bundle",
    "evaluate_bundle",
    "measure_attention",
    "measure_localisation",
    "outline_lungs",
    "read_lesion",
    "summarise",
    "write_evaluation",
]
