"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import summarise, write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.description import ModelDescription, parse_description, read_description
from pneumoscope.evidence.equipment import Equipment, equip_bundle
from pneumoscope.evidence.evaluation import (
    EvaluationResult,
    evaluate_bundle,
    evaluate_model,
    evaluate_subject,
)
from pneumoscope.evidence.foreign import ForeignModel, is_foreign, open_model
from pneumoscope.evidence.subject import Subject, describe_bundle, describe_foreign

__all__ = [
    "Equipment",
    "EvaluationContext",
    "EvaluationResult",
    "ForeignModel",
    "ModelDescription",
    "Subject",
    "describe_bundle",
    "describe_foreign",
    "equip_bundle",
    "evaluate_bundle",
    "evaluate_model",
    "evaluate_subject",
    "is_foreign",
    "open_model",
    "parse_description",
    "read_description",
    "summarise",
    "write_evaluation",
]
