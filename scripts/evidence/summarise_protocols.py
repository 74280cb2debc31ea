"""What each protocol gives: the runs of `runs/evidence.sh` side by side, as Markdown.

    python scripts/evidence/summarise_protocols.py runs/evidence

Runs are folders RECIPE-GROUP-SEED. Numbers are of the test part at the threshold that validation
chose; `leaked` are test images whose patient, or a copy, is in train, `clean` the others.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pneumoscope.datasets import mark_leaked, read_manifest
from pneumoscope.evaluation import compute_auc

_NAME = re.compile(r"(?P<recipe>[a-z]+)-(?P<group>image|patient|block)-(?P<seed>\d+)")
_GROUPS = ("image", "patient", "block")


@dataclass(frozen=True)
class Outcome:
    """One run on its test part."""

    auc: float
    sensitivity: float
    specificity: float
    missed: int
    pneumonias: int
    leaked_share: float
    sensitivity_leaked: float | None
    sensitivity_clean: float | None


def judge_run(run: Path) -> Outcome:
    """Return what a finished run gives on its test part."""
    test = pl.read_csv(run / "predictions.csv").filter(split="test")
    test = test.filter(stage=test["stage"][-1])  # the final stage
    marked = mark_leaked(read_manifest(run / "manifest.parquet"))
    leaks = (pl.col("patient_in_train") | pl.col("copy_in_train")).fill_null(False).alias("leaked")
    columns = ("patient_in_train", "copy_in_train")
    test = test.drop(columns, strict=False).join(marked.select("path", *columns), on="path")
    test = test.with_columns(leaks)
    labels = (test["label"] == "PNEUMONIA").to_numpy()
    probability = test["probability"].to_numpy()
    threshold = _read_threshold(run)
    called, leaked = probability >= threshold, test["leaked"].to_numpy()

    def find_share(rows: np.ndarray) -> float | None:
        return float(called[rows].mean()) if rows.any() else None

    auc = compute_auc(labels.astype(np.int64), probability)
    return Outcome(
        auc=auc if auc is not None else np.nan,
        sensitivity=float(called[labels].mean()),
        specificity=float((~called[~labels]).mean()),
        missed=int((~called & labels).sum()),
        pneumonias=int(labels.sum()),
        leaked_share=float(leaked.mean()),
        sensitivity_leaked=find_share(labels & leaked),
        sensitivity_clean=find_share(labels & ~leaked),
    )


def _read_threshold(run: Path) -> float:
    from pneumoscope.bundle import read_bundle

    info = read_bundle(run / "bundle").info
    return info.operating_points[info.decides].threshold


def _tell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else ""
    return f"{np.mean(known):.3f}{spread}"


def main() -> None:
    """Print a row for each recipe and protocol: mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for run in sorted(parser.parse_args().folder.iterdir()):
        match = _NAME.fullmatch(run.name)
        if match and (run / "report.html").is_file():
            found[match["recipe"], match["group"]].append(judge_run(run))
    print(
        "| recipe | split by | seeds | AUC | sensitivity | specificity | missed | leaked |", end=""
    )
    print(" sensitivity, leaked | clean |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for recipe in sorted({recipe for recipe, _ in found}):
        for group in _GROUPS:
            runs = found.get((recipe, group), [])
            if not runs:
                continue
            missed = ", ".join(f"{run.missed} of {run.pneumonias}" for run in runs)
            cells = [
                recipe, group, str(len(runs)),
                *(_tell([getattr(run, name) for run in runs])
                  for name in ("auc", "sensitivity", "specificity")),
                missed,
                f"{np.mean([run.leaked_share for run in runs]):.0%}",
                *(_tell([getattr(run, name) for run in runs])
                  for name in ("sensitivity_leaked", "sensitivity_clean")),
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
