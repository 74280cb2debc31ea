"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.cross_validation import (
    OUT_OF_FOLD,
    CrossValidationContext,
    FoldRun,
    write_cross_validation,
)
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle

__all__ = [
    "OUT_OF_FOLD",
    "CrossValidationContext",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "FoldRun",
    "equip_bundle",
    "evaluate_bundle",
    "summarise",
    "write_cross_validation",
    "write_evaluation",
]
