"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.cross_validation import (
    OUT_OF_FOLD,
    CrossValidationContext,
    FoldRun,
    write_cross_validation,
)
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle
from pneumoscope.evidence.questions import Questions
from pneumoscope.evidence.summary import CARRIED, CalibrationPart, summarise

__all__ = [
    "CARRIED",
    "OUT_OF_FOLD",
    "CalibrationPart",
    "CrossValidationContext",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "FoldRun",
    "Questions",
    "equip_bundle",
    "evaluate_bundle",
    "summarise",
    "write_cross_validation",
    "write_evaluation",
]
