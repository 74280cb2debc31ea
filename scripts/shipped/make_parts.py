"""Write the manifests of the shipped model: five block folds, and all but the calibration part.

    python scripts/shipped/make_parts.py chest_xray runs/shipped/parts --adults adults

The calibration part is fixed in `calibration_part.json`: two ranges of acquisition numbers of every
series, about a tenth of it. It trains nothing, ever. What is left is cut into five folds, each one
contiguous fifth of every series, as the official test part is one contiguous piece of each. In a
fold's manifest the fold is `test` and the calibration part `val`: thresholds come from where those
of the shipped model come from, and meet blocks that nothing has seen. Two more manifests are
harder: they hold a whole series of normal images out of training.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import polars as pl

from pneumoscope.datasets.naming import parse_name

FOLDS = 5
CALIBRATION = Path(__file__).with_name("calibration_part.json")


def list_images(data: Path) -> pl.DataFrame:
    """Return path, label, series and number of every image of the collection, in order."""
    rows = []
    for path in sorted(data.resolve().glob("*/*/*.jpeg")):
        parts = parse_name(path.name)
        if parts is None:
            raise SystemExit(f"{path} has no acquisition number: this is another collection.")
        rows.append((str(path), path.parent.name, parts.series, parts.number))
    frame = pl.DataFrame(rows, ["path", "label", "series", "number"], orient="row")
    return frame.sort("series", "number", "path")


def assign_parts(frame: pl.DataFrame, ranges: dict[str, list[list[int]]]) -> pl.DataFrame:
    """Add `part`: `calibration`, or the fold's number as text."""
    pieces = []
    for (series,), rows in frame.group_by("series", maintain_order=True):
        held = pl.any_horizontal(
            pl.col("number").is_between(first, last) for first, last in ranges[str(series)]
        )
        calibration = rows.filter(held).with_columns(part=pl.lit("calibration"))
        rest = rows.filter(~held).with_row_index("place")
        # Cut by images, but never inside a number: it is a patient.
        fold = pl.col("place").first().over("number").cast(pl.Int64) * FOLDS // rest.height
        rest = rest.with_columns(part=fold.cast(pl.String)).drop("place")
        pieces += [calibration, rest]
    return pl.concat(pieces)


def write_adults(data: Path, out: Path) -> None:
    """Write `adults.csv` into `out`: in `train` the half, by patient, that the check learns from.

    The other half, `test`, is for reporting only.
    """
    rows = []
    for path in sorted(data.resolve().glob("*/*.jpeg")):
        patient = path.stem.partition("_")[0]
        learns = hashlib.sha256(patient.encode()).digest()[0] % 2 == 0
        rows.append((str(path), path.parent.name, patient, "train" if learns else "test"))
    columns = ["path", "label", "patient", "split"]
    pl.DataFrame(rows, columns, orient="row").write_csv(out / "adults.csv")


def write_parts(data: Path, out: Path, every: int = 1) -> None:
    """Write `all.csv`, `fold0.csv` … `fold4.csv`, `IM.csv` and `NORMAL2-IM.csv` into `out`."""
    frame = assign_parts(list_images(data), json.loads(CALIBRATION.read_text()))
    frame = frame.gather_every(every)
    tests = {f"fold{fold}": pl.col("part") == str(fold) for fold in range(FOLDS)}
    tests["all"] = pl.lit(False)
    for series, fold in (("IM", "0"), ("NORMAL2-IM", str(FOLDS - 1))):
        sick = (pl.col("label") == "PNEUMONIA") & (pl.col("part") == fold)
        tests[series] = (pl.col("series") == series) | sick
    out.mkdir(parents=True, exist_ok=True)
    for name, test in tests.items():
        split = pl.when(part="calibration").then(pl.lit("val"))
        split = split.when(test).then(pl.lit("test")).otherwise(pl.lit("train"))
        source = pl.lit("Kermany V2").alias("source")
        frame.select("path", "label", split.alias("split"), source).write_csv(out / f"{name}.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the collection, as Kaggle lays it out")
    parser.add_argument("out", type=Path, help="where the manifests go")
    parser.add_argument(
        "--adults", type=Path, help="radiographs of adults, to be halved by patient"
    )
    parser.add_argument("--every", type=int, default=1, help="take one image in so many, to try")
    arguments = parser.parse_args()
    write_parts(arguments.data, arguments.out, arguments.every)
    if arguments.adults:
        write_adults(arguments.adults, arguments.out)
