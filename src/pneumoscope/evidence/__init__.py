"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.audit import audit_collection
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_bundle
from pneumoscope.evidence.findings import Audit

__all__ = [
    "Audit",
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "audit_collection",
    "equip_bundle",
    "evaluate_bundle",
    "summarise",
    "write_evaluation",
]
