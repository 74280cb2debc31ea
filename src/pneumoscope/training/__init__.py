"""Training: data and weights in; a run folder with history, report and bundle out."""

from pneumoscope.training.comparison import RunComparison, compare_runs
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.loop import EpochRow, Observer
from pneumoscope.training.pretraining import PretrainingRequest, PretrainingResult, pretrain
from pneumoscope.training.recipe import Recipe, Stage, list_recipes, load_recipe
from pneumoscope.training.recorders import Silent
from pneumoscope.training.request import TrainingRequest
from pneumoscope.training.run import TrainingResult, resume, train

__all__ = [
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
    "list_recipes",
    "load_recipe",
    "pretrain",
    "resume",
    "train",
]
