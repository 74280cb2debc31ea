"""How far does a bundle come back on another collection, and what does it take?

    python scripts/shipped/make_parts.py chest_xray parts --adults adults
    python scripts/evidence/adaptation.py parts/adults.csv --out runs/adaptation

Three ways, each from 50, 100 and 200 labelled images of the other collection: recalibration alone
(`pneumoscope recalibrate`), training the head, and training `layer4` and the head
(`adaptation.yaml`). Each draw cuts the patients into two halves; one half is judged, and the images
come from the other, the smaller sets within the larger. Of the images that train, a quarter, by
patient, is held back for thresholds; recalibration alone needs none held back. Nothing is chosen on
what is judged.

DATA is a manifest with path, label and patient. What is done is not done again: stop and go on as
you like. Writes `adaptation.csv` (one row a draw, way and size), `adaptation.json` (mean and
spread) and `adaptation.png`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

import pneumoscope
from pneumoscope._files import write_atomically
from pneumoscope.bundle import Bundle, Calibration
from pneumoscope.datasets import build_manifest, load_pixels, open_collection, read_labels
from pneumoscope.evaluation import FittedCalibration, compute_auc, update_calibration
from pneumoscope.evidence.equipment.precisions import answer_squares, choose_points
from pneumoscope.training import Silent, TrainingRequest, load_recipe, resume, train

RECIPE = Path(__file__).with_name("adaptation.yaml")
SIZES = (50, 100, 200)
#: What the thresholds are expected to reach: sensitivity of rule_out, specificity of rule_in.
TARGETS = (0.975, 0.98)
#: The ways, in the order of what they take; `as it is` needs no image.
WAYS = {"recalibrated": "o-", "head": "s--", "layer4": "^:"}
SHOWN = {
    "auc": "AUC",
    "sensitivity_balanced": "sensitivity, balanced",
    "specificity_balanced": "specificity, balanced",
}


def cut_patients(frame: pl.DataFrame, draw: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to adapt on, in the order in which they are taken, and those to judge."""
    groups = frame["group"].to_numpy()
    folds = StratifiedGroupKFold(2, shuffle=True, random_state=draw)
    pool, judged = next(folds.split(groups, frame["label"].to_numpy(), groups))
    order = np.random.default_rng(draw).permutation(np.unique(groups[pool]))
    rows = [row for group in order for row in pool[groups[pool] == group]]
    return np.array(rows), judged


def hold_back(frame: pl.DataFrame, draw: int) -> NDArray[np.bool_]:
    """Return which rows of a set set the thresholds: a quarter, by patient, of both classes."""
    groups, labels = frame["group"].to_numpy(), frame["label"].to_numpy()
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=draw)
    held = np.zeros(len(groups), np.bool_)
    held[next(folds.split(groups, labels, groups))[1]] = True
    return held


def train_on(frame: pl.DataFrame, bundle: str, draw: int, folder: Path) -> Path:
    """Return the file of the answers, on all but the training images, of both trained stages.

    Parameters
    ----------
    frame
        path, label, patient and split: train and val to adapt on, test to be judged.
    folder
        Of the run; only `predictions.csv`, beside it, is kept.
    """
    answers = folder.with_suffix(".csv")
    if answers.is_file():
        return answers
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = folder.with_suffix(".manifest.csv")
    if (folder / "config.yaml").is_file() and not (folder / "predictions.csv").is_file():
        resume(folder, Silent())
    elif not (folder / "predictions.csv").is_file():
        frame.select("path", "label", "patient", "split").write_csv(manifest)
        shutil.rmtree(folder, ignore_errors=True)
        recipe = load_recipe(str(RECIPE))
        train(TrainingRequest(manifest, folder, recipe, weights=bundle, seed=draw), Silent())
    shutil.copyfile(folder / "predictions.csv", answers.with_suffix(".part"))
    answers.with_suffix(".part").rename(answers)
    shutil.rmtree(folder)
    return answers


def judge_as_it_is(
    bundle: Bundle, labels: NDArray[np.int64], logits: NDArray[np.float64]
) -> dict[str, float]:
    """Return what the bundle is worth with its own calibration and thresholds."""
    points = {name: point.threshold for name, point in bundle.info.operating_points.items()}
    return count(labels, bundle.info.calibration.apply(logits), points)


def judge_updated(
    previous: Calibration,
    sample: tuple[NDArray[np.int64], NDArray[np.float64]],
    judged: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> dict[str, float]:
    """Return what logits are worth with calibration and thresholds from a sample.

    `sample` and `judged` are labels and logits; the calibration is drawn from `previous`.
    """
    before = FittedCalibration(previous.temperature, previous.bias)
    fitted = update_calibration(*sample, before)
    calibration = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    points = choose_points(sample[0], calibration.apply(sample[1]), *TARGETS)
    thresholds = {name: point.threshold for name, point in points.items()}
    return count(judged[0], calibration.apply(judged[1]), thresholds)


def count(
    labels: NDArray[np.int64], scores: NDArray[np.float64], thresholds: dict[str, float]
) -> dict[str, float]:
    """Return AUC, Brier score, and what the thresholds decide; REFER counts as flagged."""
    low, middle, high = (thresholds[name] for name in ("rule_out", "balanced", "rule_in"))
    sick = labels == 1
    return {
        "auc": float(compute_auc(labels, scores) or np.nan),
        "brier": float(np.mean((scores - labels) ** 2)),
        "sensitivity_balanced": float((scores[sick] >= middle).mean()),
        "specificity_balanced": float((scores[~sick] < middle).mean()),
        "sensitivity_band": float((scores[sick] >= low).mean()),
        "specificity_band": float((scores[~sick] < low).mean()),
        "referred": float(((scores >= low) & (scores < high)).mean()),
    }


def read_part(answers: pl.DataFrame, split: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and logits of one split."""
    rows = answers.filter(pl.col("split") == split)
    return read_labels(rows), rows["logit"].to_numpy()


def adapt(
    data: Path, bundle: str, out: Path, draws: int, sizes: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Return one row a draw, way and size; training that is done is not done again."""
    predictor = pneumoscope.load(None if bundle == "bundled" else bundle)
    frame = build_manifest(open_collection(data)).frame
    if frame["patient"].null_count():
        raise SystemExit(f"{data} does not name the patient of every image.")
    squares = load_pixels(frame, predictor.preprocessing)
    logits = answer_squares(predictor, squares, lambda done, total: None).logits.astype(float)
    labels = read_labels(frame)
    calibration = predictor.bundle.info.calibration
    rows: list[dict[str, Any]] = []
    for draw in range(draws):
        order, judged = cut_patients(frame, draw)
        home = judge_as_it_is(predictor.bundle, labels[judged], logits[judged])
        rows.append({"draw": draw, "way": "as it is", "images": 0, **home})
        for n in sizes:
            taken = order[:n]
            found = judge_updated(
                calibration, (labels[taken], logits[taken]), (labels[judged], logits[judged])
            )
            rows.append({"draw": draw, "way": "recalibrated", "images": n, **found})
            part = frame[taken.tolist()]
            held = hold_back(part, draw)
            part = part.with_columns(split=pl.Series(np.where(held, "val", "train")))
            rest = frame[judged.tolist()].with_columns(split=pl.lit("test"))
            folder = out / "runs" / f"draw{draw}_n{n}"
            answers = pl.read_csv(train_on(pl.concat([part, rest]), bundle, draw, folder))
            for way in ("head", "layer4"):
                stage = answers.filter(pl.col("stage") == way)
                sample, test = read_part(stage, "val"), read_part(stage, "test")
                # Trained anew, logits are log-odds of the trained images: nothing to undo.
                found = judge_updated(Calibration(), sample, test)
                rows.append({"draw": draw, "way": way, "images": n, **found})
            print(f"draw {draw}, {n} images: done", flush=True)
            write_results(rows, out)
    return rows


def write_results(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the table, mean and spread between draws, and the figure, of what is done so far."""
    table = pl.DataFrame(rows)
    table.write_csv(out / "adaptation.csv")
    numbers = [name for name in table.columns if name not in {"draw", "way", "images"}]
    summary = table.group_by("way", "images", maintain_order=True).agg(
        pl.len().alias("draws"),
        pl.col(numbers).mean().name.suffix("_mean"),
        pl.col(numbers).std().name.suffix("_sd"),
        pl.col(numbers).min().name.suffix("_min"),
        pl.col(numbers).max().name.suffix("_max"),
    )
    write_atomically(out / "adaptation.json", json.dumps(summary.to_dicts(), indent=1) + "\n")
    draw_curves(table, out / "adaptation.png")


def draw_curves(table: pl.DataFrame, path: Path) -> None:
    """Draw each way over the number of images: the mean, and every draw as a dot."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    sizes = table["images"].unique().sort().to_list()
    for axes, (name, title) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        start = table.filter(pl.col("way") == "as it is")
        for shift, (way, style) in enumerate(WAYS.items()):
            rows = pl.concat([start, table.filter(pl.col("way") == way)])
            places = [sizes.index(n) + 0.06 * (shift - 1) for n in rows["images"]]
            means = rows.group_by("images").agg(pl.col(name).mean()).sort("images")
            (line,) = axes.plot(
                [sizes.index(n) for n in means["images"]], means[name], style, label=way
            )
            axes.plot(places, rows[name], ".", color=line.get_color(), alpha=0.4, markersize=5)
        if name == "auc":
            axes.axhline(0.5, color="0.8", linewidth=1, zorder=0)
        axes.set_xticks(range(len(sizes)), [str(n) for n in sizes])
        axes.set(xlabel="labelled images of the other collection", title=title, ylim=(0, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.93")
    axes.legend(frameon=False, loc="lower right")
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Parse, adapt, print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a manifest with path, label and patient")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", default="bundled", help="a bundle's folder, or `bundled`")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = adapt(args.data, args.bundle, args.out, args.draws, tuple(args.sizes))
    table = pl.DataFrame(rows)
    for (way, images), part in table.group_by("way", "images", maintain_order=True):
        numbers = "  ".join(
            f"{name} {part[name].mean():.3f}±{part[name].std() or 0:.3f}" for name in SHOWN
        )
        print(f"{way:13} {images:4}  {numbers}")


if __name__ == "__main__":
    main()
