"""What becomes of a target for the thresholds where images look otherwise than in training?

    python scripts/shipped/judge_targets.py runs/shipped/IM-strong

Calibration and thresholds come from the calibration part, as `pneumoscope bundle equip` fits them,
for several targets. Judged are the run's test images (every second one; the calibration part where
the run has no test), as they are and in the eleven ways of `judge_shifts.py`: the mean over these,
and the worst. REFER counts as flagged, and as wrong for the accuracy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from judge_shifts import SHIFTS, answer_shifted
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.bundle import Calibration
from pneumoscope.datasets import read_labels, read_manifest
from pneumoscope.evaluation import choose_operating_points, fit_calibration
from pneumoscope.runtime import decide_by_band

#: Expected sensitivity of `rule_out`, expected specificity of `rule_in`.
TARGETS = ((0.99, 0.98), (0.985, 0.98), (0.98, 0.98), (0.975, 0.98), (0.97, 0.98), (0.96, 0.98))
_COLUMNS = ("sensitivity", "specificity", "referred", "accuracy")


def count(decisions: NDArray[np.str_], labels: NDArray[np.int64]) -> list[float]:
    """Return sensitivity, specificity, the share referred, and accuracy."""
    flagged = decisions != "NORMAL"
    right = decisions == np.where(labels, "PNEUMONIA", "NORMAL")
    return [
        float(flagged[labels == 1].mean()),
        float((~flagged)[labels == 0].mean()),
        float((decisions == "REFER").mean()),
        float(right.mean()),
    ]


def judge_run(run: Path) -> None:
    """Print a block of lines for each target."""
    predictor = pneumoscope.load(run / "bundle")
    frame = read_manifest(run / "manifest.parquet")
    held, test = frame.filter(split="val"), frame.filter(split="test")
    test = test.gather_every(2) if test.height else held
    labels, known = (read_labels(part) for part in (test, held))
    reference = answer_shifted(predictor, held["path"], lambda image: image)
    fitted = fit_calibration(known, reference)
    calibrate = Calibration(temperature=fitted.temperature, bias=fitted.bias).apply
    plain = calibrate(answer_shifted(predictor, test["path"], lambda image: image))
    shifted = [calibrate(answer_shifted(predictor, test["path"], s)) for s in SHIFTS.values()]
    print(f"{run.name}: {test.height} images")
    print(f"{'targets':14}{'':10}", *(f"{name:>12}" for name in _COLUMNS))
    for target in TARGETS:
        points = choose_operating_points(
            known,
            calibrate(reference),
            sensitivity=target[0],
            specificity=target[1],
            trust_labels=False,
        )
        band = points["rule_out"].threshold, points["rule_in"].threshold
        found = np.array([count(decide_by_band(scores, *band), labels) for scores in shifted])
        worst = found.min(0)
        worst[2] = found[:, 2].max()
        rows = {
            "as it is": count(decide_by_band(plain, *band), labels),
            "mean": found.mean(0),
            "worst": worst,
        }
        for name, row in rows.items():
            title = f"{target[0]:.1%} {target[1]:.1%}" if name == "as it is" else ""
            print(f"{title:14}{name:10}", *(f"{value:12.3f}" for value in row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    for run in parser.parse_args().runs:
        judge_run(run)
