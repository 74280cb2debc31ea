"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.crossfitting import Comparison, Number
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle
from pneumoscope.evidence.recalibration import (
    Recalibrated,
    RecalibrationPlan,
    recalibrate_bundle,
)

__all__ = [
    "Comparison",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "Number",
    "Recalibrated",
    "RecalibrationPlan",
    "equip_bundle",
    "evaluate_bundle",
    "recalibrate_bundle",
    "summarise",
    "write_evaluation",
]
