"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle
from pneumoscope.evidence.robustness import RobustnessPlan, measure_robustness
from pneumoscope.evidence.robustness_result import RobustnessResult
from pneumoscope.evidence.robustness_writing import write_robustness
from pneumoscope.evidence.shifts import SHIFTS, Shift

__all__ = [
    "SHIFTS",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "RobustnessPlan",
    "RobustnessResult",
    "Shift",
    "equip_bundle",
    "evaluate_bundle",
    "measure_robustness",
    "summarise",
    "write_evaluation",
    "write_robustness",
]
