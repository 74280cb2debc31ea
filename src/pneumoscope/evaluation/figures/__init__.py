"""Figures, as PNG for pages and SVG for papers, readable in black and white.

Lines differ by dash and marker, not by colour alone. No global state of matplotlib is touched.
"""

from pneumoscope.evaluation.figures.confusion import plot_confusion
from pneumoscope.evaluation.figures.curves import plot_precision_recall, plot_roc
from pneumoscope.evaluation.figures.decisions import plot_decision_curve
from pneumoscope.evaluation.figures.folds import plot_folds
from pneumoscope.evaluation.figures.forest import plot_forest
from pneumoscope.evaluation.figures.history import plot_history
from pneumoscope.evaluation.figures.reliability import plot_reliability

__all__ = [
    "plot_confusion",
    "plot_decision_curve",
    "plot_folds",
    "plot_forest",
    "plot_history",
    "plot_precision_recall",
    "plot_reliability",
    "plot_roc",
]
