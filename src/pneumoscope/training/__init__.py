"""Training: data and weights in; a run folder with history, report and bundle out."""

from pneumoscope.training.comparison import RunComparison, compare_runs
from pneumoscope.training.cross_validation import (
    CrossValidationRequest,
    CrossValidationResult,
    cross_validate,
    resume_cross_validation,
)
from pneumoscope.training.cross_validation_folder import CrossValidationFolder
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.loop import EpochRow, Observer
from pneumoscope.training.pretraining import (
    PretrainingRequest,
    PretrainingResult,
    pretrain,
    read_pretraining,
)
from pneumoscope.training.recipe import Recipe, Stage, list_recipes, load_recipe
from pneumoscope.training.recorders import Silent
from pneumoscope.training.request import TrainingRequest
from pneumoscope.training.run import TrainingResult, resume, train

__all__ = [
    "CrossValidationFolder",
    "CrossValidationRequest",
    "CrossValidationResult",
    "EpochRow",
    "Observer",
    "PretrainingRequest",
    "PretrainingResult",
    "Recipe",
    "RunComparison",
    "RunFolder",
    "Silent",
    "Stage",
    "TrainingRequest",
    "TrainingResult",
    "compare_runs",
    "cross_validate",
    "list_recipes",
    "load_recipe",
    "pretrain",
    "read_pretraining",
    "resume",
    "resume_cross_validation",
    "train",
]
