"""Evaluation: a table of predictions becomes metrics with intervals, thresholds and figures."""

from pneumoscope.evaluation.calibration import (
    FittedCalibration,
    fit_calibration,
    fit_temperature,
)
from pneumoscope.evaluation.clustered import clustered_auc_interval, rank_within_folds
from pneumoscope.evaluation.comparison import (
    Answers,
    DeLong,
    Difference,
    McNemar,
    compare_answers,
    delong_test,
    mcnemar_test,
    newcombe_paired_interval,
)
from pneumoscope.evaluation.curve import (
    Band,
    band_precision_recall,
    band_roc,
    tabulate_thresholds,
)
from pneumoscope.evaluation.decision_curve import DecisionCurve, compute_decision_curve
from pneumoscope.evaluation.figures import (
    plot_confusion,
    plot_decision_curve,
    plot_folds,
    plot_forest,
    plot_history,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
)
from pneumoscope.evaluation.intervals import (
    Estimate,
    Interval,
    find_lower_bound,
    wilson_interval,
)
from pneumoscope.evaluation.metrics import Metrics, compute_metrics
from pneumoscope.evaluation.operating_points import (
    RULE_IN_SPECIFICITY,
    RULE_OUT_SENSITIVITY,
    OperatingPoint,
    choose_operating_points,
    count_cases_needed,
)
from pneumoscope.evaluation.pooling import Pooled, pool_predictions
from pneumoscope.evaluation.prevalence import PREVALENCES, AtPrevalence, project_to_prevalences
from pneumoscope.evaluation.ranking import (
    compute_auc,
    compute_average_precision,
    delong_interval,
)
from pneumoscope.evaluation.reliability import (
    CalibrationError,
    CalibrationLine,
    ReliabilityBin,
    bin_probabilities,
    compute_calibration_error,
    fit_calibration_line,
)
from pneumoscope.evaluation.resampling import Clusters, find_clusters, resample
from pneumoscope.evaluation.shares import estimate_shares
from pneumoscope.evaluation.similar_scores import SimilarScores, find_similar_scores
from pneumoscope.evaluation.stability import Drift, Stability, measure_stability
from pneumoscope.evaluation.subgroups import Subgroup, cut_values, judge_subgroups
from pneumoscope.evaluation.updating import update_calibration

__all__ = [
    "PREVALENCES",
    "RULE_IN_SPECIFICITY",
    "RULE_OUT_SENSITIVITY",
    "Answers",
    "AtPrevalence",
    "Band",
    "CalibrationError",
    "CalibrationLine",
    "Clusters",
    "DeLong",
    "DecisionCurve",
    "Difference",
    "Drift",
    "Estimate",
    "FittedCalibration",
    "Interval",
    "McNemar",
    "Metrics",
    "OperatingPoint",
    "Pooled",
    "ReliabilityBin",
    "SimilarScores",
    "Stability",
    "Subgroup",
    "band_precision_recall",
    "band_roc",
    "bin_probabilities",
    "choose_operating_points",
    "clustered_auc_interval",
    "compare_answers",
    "compute_auc",
    "compute_average_precision",
    "compute_calibration_error",
    "compute_decision_curve",
    "compute_metrics",
    "count_cases_needed",
    "cut_values",
    "delong_interval",
    "delong_test",
    "estimate_shares",
    "find_clusters",
    "find_lower_bound",
    "find_similar_scores",
    "fit_calibration",
    "fit_calibration_line",
    "fit_temperature",
    "judge_subgroups",
    "mcnemar_test",
    "measure_stability",
    "newcombe_paired_interval",
    "plot_confusion",
    "plot_decision_curve",
    "plot_folds",
    "plot_forest",
    "plot_history",
    "plot_precision_recall",
    "plot_reliability",
    "plot_roc",
    "pool_predictions",
    "project_to_prevalences",
    "rank_within_folds",
    "resample",
    "tabulate_thresholds",
    "update_calibration",
    "wilson_interval",
]
