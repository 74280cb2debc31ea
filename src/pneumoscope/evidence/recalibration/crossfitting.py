"""Before and after a fit, on images that did not fit what is judged on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from pneumoscope.bundle import Calibration, OperatingPointInfo
from pneumoscope.evaluation import compute_metrics, wilson_interval

FOLDS = 5
_RESAMPLES = 2000
_SEED = 0

Fitted = tuple[Calibration, Mapping[str, OperatingPointInfo]]
Labels = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """A number with its 95 % interval; both None where it is not defined."""

    value: float | None
    interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON has them."""
        return {"value": self.value, "interval": list(self.interval) if self.interval else None}


@dataclass(frozen=True)
class Comparison:
    """What a fit changes, on images that it has not seen.

    `before` and `after` hold, by name: log_loss, brier, expected (the mean probability), and
    what the referral band decides: sensitivity, specificity (REFER counts as flagged), referred.
    `change` is after minus before, on the same images.
    """

    n: int
    prevalence: float
    auc: Number
    before: dict[str, Number]
    after: dict[str, Number]
    change: dict[str, Number]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `bundle.json`."""
        numbers = {"before": self.before, "after": self.after, "change": self.change}
        return {
            "n": self.n,
            "prevalence": self.prevalence,
            "auc": self.auc.to_dict(),
            **{
                when: {name: number.to_dict() for name, number in found.items()}
                for when, found in numbers.items()
            },
        }


def compare_by_folds(
    labels: Labels,
    logits: NDArray[np.float32],
    groups: Sequence[str],
    previous: Fitted,
    fit: Callable[[Labels, NDArray[np.float32]], Fitted],
) -> Comparison:
    """Compare the previous calibration and thresholds with fitted ones, by cross-fitting.

    The images are cut by group into five parts; each is judged with what the other four give. So
    no image is judged by a fit that it was part of. Intervals resample whole groups.

    Parameters
    ----------
    labels, logits
        int [N], both classes, and float32 [N].
    groups
        Of each image: what shares one, such as a patient, stays together.
    """
    old = _judge(labels, logits, previous)
    parts = {name: np.empty(values.shape) for name, values in old.items()}
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
    for known, held in folds.split(labels, labels, groups):
        judged = _judge(labels[held], logits[held], fit(labels[known], logits[known]))
        for name, values in judged.items():
            parts[name][held] = values
    weights = _draw_weights(groups)
    among = {"sensitivity": labels == 1, "specificity": labels == 0}
    rows = {name: among.get(name, np.ones(len(labels), np.bool_)) for name in old}
    ranked = compute_metrics(labels, previous[0].apply(logits), 0.5, list(groups))
    interval = ranked.intervals.get("auc")
    return Comparison(
        n=len(labels),
        prevalence=float(labels.mean()),
        auc=Number(ranked.auc, (interval.low, interval.high) if interval else None),
        before={name: _average(old[name], rows[name], weights, name) for name in old},
        after={name: _average(parts[name], rows[name], weights, name) for name in old},
        change={name: _average(parts[name] - old[name], rows[name], weights) for name in old},
    )


def _judge(labels: Labels, logits: NDArray[np.float32], fitted: Fitted) -> dict[str, Scores]:
    """Return what each image adds to each number, float64 [N]."""
    calibration, points = fitted
    probabilities = calibration.apply(logits)
    odds = np.asarray(logits, np.float64) / calibration.temperature + calibration.bias
    low, high = (points.get(name, points["balanced"]) for name in ("rule_out", "rule_in"))
    flagged = probabilities >= low.threshold
    return {
        "log_loss": np.logaddexp(0, np.where(labels == 1, -odds, odds)),
        "brier": (probabilities - labels) ** 2,
        "expected": probabilities,
        "sensitivity": flagged.astype(np.float64),
        "specificity": (~flagged).astype(np.float64),
        "referred": (flagged & (probabilities < high.threshold)).astype(np.float64),
    }


def _draw_weights(groups: Sequence[str]) -> NDArray[np.float64]:
    """Return how often each image is in each resample of whole groups, float64 [resamples, N]."""
    _, member = np.unique(groups, return_inverse=True)
    size = int(member.max()) + 1
    generator = np.random.default_rng(_SEED)
    return generator.multinomial(size, np.full(size, 1 / size), _RESAMPLES)[:, member].astype(float)


def _average(
    values: Scores, rows: NDArray[np.bool_], weights: NDArray[np.float64], proportion: str = ""
) -> Number:
    """Return the mean over these rows; a proportion's interval is never narrower than Wilson's."""
    with np.errstate(invalid="ignore"):
        drawn = (weights[:, rows] @ values[rows]) / weights[:, rows].sum(1)
    low, high = (float(q) for q in np.nanquantile(drawn, (0.025, 0.975)))
    if proportion in {"sensitivity", "specificity", "referred"}:
        wilson = wilson_interval(round(values[rows].sum()), int(rows.sum()))
        assert wilson is not None  # both classes are there
        low, high = min(low, wilson.low), max(high, wilson.high)
    return Number(float(values[rows].mean()), (low, high))
