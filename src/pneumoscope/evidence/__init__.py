"""Evidence: whatever needs a model and data; evaluation runs and their reports."""

from pneumoscope.evidence.assessment import write_evaluation
from pneumoscope.evidence.attention.influence import measure_localisation, read_lesion
from pneumoscope.evidence.attention.lungs import LungMasks, outline_lungs
from pneumoscope.evidence.attention.measurement import (
    Attention,
    AttentionOptions,
    measure_attention,
)
from pneumoscope.evidence.audit.auditing import audit_collection
from pneumoscope.evidence.audit.findings import Audit
from pneumoscope.evidence.characteristics import fingerprint_images, tabulate_characteristics
from pneumoscope.evidence.cross_validation import (
    OUT_OF_FOLD,
    CrossValidationContext,
    FoldRun,
    write_cross_validation,
)
from pneumoscope.evidence.equipment.equipping import Equipment, Equipped, equip_bundle
from pneumoscope.evidence.evaluation import EvaluationResult, evaluate_subject
from pneumoscope.evidence.foreign.description import (
    ModelDescription,
    parse_description,
    read_description,
)
from pneumoscope.evidence.foreign.model import ForeignModel, is_foreign, open_model
from pneumoscope.evidence.points import state_points
from pneumoscope.evidence.quality import add_quality
from pneumoscope.evidence.questions import Questions
from pneumoscope.evidence.recalibration.crossfitting import Comparison, Number
from pneumoscope.evidence.recalibration.recalibrating import (
    Recalibrated,
    RecalibrationPlan,
    recalibrate_bundle,
)
from pneumoscope.evidence.report.context import EvaluationContext
from pneumoscope.evidence.robustness.measurement import RobustnessPlan, measure_robustness
from pneumoscope.evidence.robustness.result import RobustnessResult
from pneumoscope.evidence.robustness.shifts import SHIFTS, Shift
from pneumoscope.evidence.robustness.writing import write_robustness
from pneumoscope.evidence.subject import Subject, describe_bundle, describe_foreign
from pneumoscope.evidence.summary import CARRIED, CalibrationPart, summarise

__all__ = [
    "CARRIED",
    "OUT_OF_FOLD",
    "SHIFTS",
    "Attention",
    "AttentionOptions",
    "Audit",
    "CalibrationPart",
    "Comparison",
    "CrossValidationContext",
    "Equipment",
    "Equipped",
    "EvaluationContext",
    "EvaluationResult",
    "FoldRun",
    "ForeignModel",
    "LungMasks",
    "ModelDescription",
    "Number",
    "Questions",
    "Recalibrated",
    "RecalibrationPlan",
    "RobustnessPlan",
    "RobustnessResult",
    "Shift",
    "Subject",
    "add_quality",
    "audit_collection",
    "describe_bundle",
    "describe_foreign",
    "equip_bundle",
    "evaluate_subject",
    "fingerprint_images",
    "is_foreign",
    "measure_attention",
    "measure_localisation",
    "measure_robustness",
    "open_model",
    "outline_lungs",
    "parse_description",
    "read_description",
    "read_lesion",
    "recalibrate_bundle",
    "state_points",
    "summarise",
    "tabulate_characteristics",
    "write_cross_validation",
    "write_evaluation",
    "write_robustness",
]
