"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import EvaluationContext, summarise, write_evaluation
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle

__all__ = [
    "EvaluationContext",
    "EvaluationResult",
    "evaluate_bundle",
    "summarise",
    "write_evaluation",
]
