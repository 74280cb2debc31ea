"""How strongly should a calibration be drawn towards a small sample?

    python scripts/evidence/judge_updates.py runs/adults/predictions.csv --draws 30

Takes a table of answers with label, patient and logit, as `pneumoscope evaluate` writes it, and a
bundle (the one in the box). Half of the patients give samples of 20 to 200 images; log loss, Brier
score and ECE are those on the other half, averaged over draws. `--prevalence` thins the positives,
for a place where another share is ill. Without a table, the bundle's own calibration part is taken:
a place where nothing has changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle, Calibration, find_shipped_bundle, read_bundle
from pneumoscope.datasets import read_labels
from pneumoscope.evaluation import FittedCalibration, fit_calibration, update_calibration

SIZES = (20, 50, 100, 200)
#: Standard deviations of the priors on log(slope) and shift that are tried.
PRIORS = ((0.25, 2), (0.5, 1), (0.5, 2), (0.5, 5), (1, 2), (1, 5), (10, 50))
_BINS = 10

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]
Method = Callable[[Labels, Scores], FittedCalibration]


def list_methods(previous: FittedCalibration) -> dict[str, Method]:
    """Return what is compared, by name."""
    methods: dict[str, Method] = {
        "as it was": lambda labels, logits: previous,
        "Platt": lambda labels, logits: fit_calibration(labels, logits),
        "shift only": lambda labels, logits: update_calibration(
            labels, logits, previous, slope_spread=1e-3, shift_spread=10
        ),
    }
    for slope, shift in PRIORS:
        methods[f"{slope:g} / {shift:g}"] = lambda labels, logits, slope=slope, shift=shift: (
            update_calibration(labels, logits, previous, slope_spread=slope, shift_spread=shift)
        )
    return methods


def judge(fitted: FittedCalibration, labels: Labels, logits: Scores) -> tuple[float, float, float]:
    """Return log loss, Brier score and ECE (ten bins of equal count)."""
    odds = logits / fitted.temperature + fitted.bias
    scores = Calibration(temperature=fitted.temperature, bias=fitted.bias).apply(logits)
    bins = np.array_split(np.argsort(scores), _BINS)
    gaps = [abs(labels[rows].mean() - scores[rows].mean()) * len(rows) for rows in bins]
    loss = np.logaddexp(0, np.where(labels == 1, -odds, odds)).mean()
    return float(loss), float(np.mean((scores - labels) ** 2)), float(sum(gaps) / len(labels))


def thin(
    rows: NDArray[np.int64], labels: Labels, prevalence: float | None, n: int | None
) -> NDArray[np.int64] | None:
    """Return the first n of the rows, all without n, at a prevalence; None where too few."""
    if prevalence is None:
        return rows[:n]
    sick, well = rows[labels[rows] == 1], rows[labels[rows] == 0]
    total = n or int(len(well) / (1 - prevalence))
    positives = round(total * prevalence)
    if len(well) < total - positives or len(sick) < positives:
        return None
    return np.r_[sick[:positives], well[: total - positives]]


def read_answers(table: Path | None, bundle: Bundle) -> tuple[Labels, Scores, NDArray[np.str_]]:
    """Return labels, logits and the patient of each image."""
    if table is None:
        arrays = bundle.reference()
        names = np.arange(len(arrays["labels"])).astype(str)
        return arrays["labels"].astype(np.int64), arrays["logits"].astype(np.float64), names
    frame = pl.read_csv(table, schema_overrides={"patient": pl.String})
    names = frame["patient"].fill_null(frame["path"]).to_numpy().astype(str)
    labels = read_labels(frame)
    return labels, frame["logit"].to_numpy().astype(np.float64), names


def main() -> None:
    """Print a line a size: for each method, log loss, Brier score and ECE."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--bundle", type=Path, default=find_shipped_bundle())
    parser.add_argument("--prevalence", type=float)
    parser.add_argument("--draws", type=int, default=30)
    args = parser.parse_args()
    bundle = read_bundle(args.bundle)
    old = bundle.info.calibration
    methods = list_methods(FittedCalibration(old.temperature, old.bias))
    labels, logits, names = read_answers(args.table, bundle)
    print(f"{'images':8}", *(f"{name:>20}" for name in methods))
    for n in SIZES:
        generator = np.random.default_rng(0)
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
        for _ in range(args.draws):
            order = generator.permutation(np.unique(names))
            inside = np.isin(names, order[: len(order) // 2])
            pool = generator.permutation(np.flatnonzero(inside))
            sample = thin(pool, labels, args.prevalence, n)
            rest = thin(np.flatnonzero(~inside), labels, args.prevalence, None)
            if sample is None or rest is None or len(np.unique(labels[sample])) < 2:
                continue
            for name, method in methods.items():
                fitted = method(labels[sample], logits[sample])
                found[name].append(judge(fitted, labels[rest], logits[rest]))
        if all(found.values()):
            cells = (np.mean(values, 0) for values in found.values())
            print(f"{n:<8}", *(f"{'/'.join(f'{x:.3f}' for x in cell):>20}" for cell in cells))


if __name__ == "__main__":
    main()
