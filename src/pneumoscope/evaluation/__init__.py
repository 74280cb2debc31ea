"""Evaluation: a table of predictions becomes metrics with intervals, thresholds and figures."""

from pneumoscope.evaluation.calibration import FittedCalibration, fit_calibration
from pneumoscope.evaluation.clustered import clustered_auc_interval, rank_within_folds
from pneumoscope.evaluation.figures import (
    plot_confusion,
    plot_history,
    plot_precision_recall,
    plot_roc,
)
from pneumoscope.evaluation.metrics import (
    Interval,
    Metrics,
    compute_auc,
    compute_average_precision,
    compute_metrics,
    delong_interval,
    wilson_interval,
)
from pneumoscope.evaluation.operating_points import OperatingPoint, choose_operating_points

__all__ = [
    "FittedCalibration",
    "Interval",
    "Metrics",
    "OperatingPoint",
    "choose_operating_points",
    "clustered_auc_interval",
    "compute_auc",
    "compute_average_precision",
    "compute_metrics",
    "delong_interval",
    "fit_calibration",
    "plot_confusion",
    "plot_history",
    "plot_precision_recall",
    "plot_roc",
    "rank_within_folds",
    "wilson_interval",
]
