"""What each protocol gives: the runs of `runs/evidence.sh` side by side, as Markdown.

    python scripts/evidence/summarise_protocols.py runs/evidence --outcomes docs/data/protocols.csv

Runs are folders RECIPE-GROUP-SEED. Numbers are of the test part at the threshold that validation
chose; `leaked` are test images whose patient, or a copy, is in train, `clean` the others;
`several` are those whose patient has other images, wherever they are, `one` the others. With
--outcomes, what the file holds of other runs is shown too, and the file then holds these as well:
the runs take days of one machine, and may be made on several.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from dataclasses import asdict, dataclass
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

    recipe: str
    group: str
    seed: int
    auc: float
    sensitivity: float
    specificity: float
    missed: int
    pneumonias: int
    leaked_share: float
    sensitivity_leaked: float | None
    sensitivity_clean: float | None
    several_share: float | None = None
    """Of the pneumonias: of patients, copies counted as theirs, with more images than this one."""
    sensitivity_several: float | None = None
    sensitivity_one: float | None = None


def judge_run(run: Path, recipe: str, group: str, seed: int) -> Outcome:
    """Return what a finished run gives on its test part."""
    test = pl.read_csv(run / "predictions.csv").filter(split="test")
    test = test.filter(stage=test["stage"][-1])  # the final stage
    manifest = read_manifest(run / "manifest.parquet")
    marked = mark_leaked(manifest).with_columns((pl.len().over("group") > 1).alias("several"))
    leaks = (pl.col("patient_in_train") | pl.col("copy_in_train")).fill_null(False).alias("leaked")
    columns = ("patient_in_train", "copy_in_train")
    test = test.drop(columns, strict=False).join(
        marked.select("path", "several", *columns), on="path"
    )
    test = test.with_columns(leaks)
    labels = (test["label"] == "PNEUMONIA").to_numpy()
    probability = test["probability"].to_numpy()
    threshold = _read_threshold(run)
    called, leaked = probability >= threshold, test["leaked"].to_numpy()
    several = test["several"].to_numpy()

    def find_share(rows: np.ndarray) -> float | None:
        return float(called[rows].mean()) if rows.any() else None

    auc = compute_auc(labels.astype(np.int64), probability)
    return Outcome(
        recipe=recipe,
        group=group,
        seed=seed,
        auc=auc if auc is not None else np.nan,
        sensitivity=float(called[labels].mean()),
        specificity=float((~called[~labels]).mean()),
        missed=int((~called & labels).sum()),
        pneumonias=int(labels.sum()),
        leaked_share=float(leaked.mean()),
        sensitivity_leaked=find_share(labels & leaked),
        sensitivity_clean=find_share(labels & ~leaked),
        several_share=float(several[labels].mean()),
        sensitivity_several=find_share(labels & several),
        sensitivity_one=find_share(labels & ~several),
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


def read_outcomes(file: Path) -> list[Outcome]:
    """Return the outcomes that a table holds; none where there is no such file."""
    if not file.is_file():
        return []
    return [Outcome(**row) for row in pl.read_csv(file).iter_rows(named=True)]


def write_outcomes(file: Path, outcomes: list[Outcome]) -> None:
    """Write outcomes as a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([asdict(outcome) for outcome in outcomes]).write_csv(file, float_precision=6)


def judge_runs(folder: Path) -> list[Outcome]:
    """Return the outcomes of all finished runs in a folder."""
    matches = [(run, _NAME.fullmatch(run.name)) for run in sorted(folder.iterdir())]
    return [
        judge_run(run, match["recipe"], match["group"], int(match["seed"]))
        for run, match in matches
        if match and (run / "report.html").is_file()
    ]


def main() -> None:
    """Print a row for each recipe and protocol: mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--outcomes", type=Path, help="a CSV file that gathers runs")
    options = parser.parse_args()
    before = read_outcomes(options.outcomes) if options.outcomes else []
    known = {(o.recipe, o.group, o.seed): o for o in [*before, *judge_runs(options.folder)]}
    outcomes = [known[key] for key in sorted(known)]
    if options.outcomes:
        write_outcomes(options.outcomes, outcomes)
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.recipe, outcome.group].append(outcome)
    print(
        "| recipe | split by | seeds | AUC | sensitivity | specificity | missed | leaked |", end=""
    )
    print(" sensitivity, leaked | clean | with several images | sensitivity on these | with one |")
    print("|---" * 13 + "|")
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
                  for name in ("sensitivity_leaked", "sensitivity_clean", "several_share",
                               "sensitivity_several", "sensitivity_one")),
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
