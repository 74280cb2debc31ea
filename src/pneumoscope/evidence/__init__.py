"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle

__all__ = [
    "EvaluationContext",
    "EvaluationResult",
    "evaluate_bundle",
    "summarise",
    "write_evaluation",
]
