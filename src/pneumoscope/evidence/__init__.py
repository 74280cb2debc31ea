"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle
from pneumoscope.evidence.questions import Questions
from pneumoscope.evidence.summary import CARRIED, CalibrationPart, summarise

__all__ = [
    "CARRIED",
    "CalibrationPart",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "Questions",
    "equip_bundle",
    "evaluate_bundle",
    "summarise",
    "write_evaluation",
]
