"""Answers that look like a mistake of whoever asked, rather than of the model."""

from __future__ import annotations

import polars as pl

from pneumoscope._probability import format_probability
from pneumoscope.datasets import read_labels
from pneumoscope.evaluation import compute_metrics

#: Probabilities that differ less than this, however different the images, differ in nothing.
_LEAST_SPREAD = 1e-3


def suspect_answers(predictions: pl.DataFrame, threshold: float) -> list[str]:
    """Return warnings about answers that are all the same, or the wrong way round.

    `predictions` has label and probability; pneumonia is called from `threshold` on.
    """
    probabilities = predictions["probability"].to_numpy()
    low, high = float(probabilities.min()), float(probabilities.max())
    if high - low < _LEAST_SPREAD:
        return [
            f"All answers are nearly the same (probability {low:.4f} to {high:.4f}): images that "
            "were not normalised as the model was trained with are the usual cause."
        ]
    warnings = []
    if low >= threshold or high < threshold:
        called = "PNEUMONIA" if low >= threshold else "NORMAL"
        warnings.append(
            f"All {predictions.height} images are called {called} (probability "
            f"{format_probability(low)} to {format_probability(high)}, threshold "
            f"{format_probability(threshold)}): the threshold does not fit them."
        )
    labels = read_labels(predictions)
    interval = compute_metrics(labels, probabilities, 0.5).to_dict()["intervals"].get("auc")
    if interval is not None and interval[1] < 0.5:
        warnings.append(
            f"Normal images score higher than pneumonias (the area under the ROC curve is below "
            f"{interval[1]:.2f}): the output may be that of NORMAL, or at another place."
        )
    return warnings
