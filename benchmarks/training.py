"""The classic recipe against the same in Keras, on the same images, split and machine.

    PNEUMOSCOPE_DATA=data/chest_xray python benchmarks/training.py --keras .venv-keras/bin/python

Ours is `pneumoscope train`, run whole with an empty cache: 10 + 10 epochs, early stopping off, all
that lies between the start of the process and the written bundle and report. Keras would take more
than an hour: a stated number of its steps is timed before and after ours, and scaled to the epochs.
Runs on Linux, on the processor alone. Prints a table; the last line is Keras' time over ours.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

STAGES = ("baseline", "finetuned")
PEER = Path(__file__).parent / "peers" / "keras_classic.py"
TOOL = Path(sys.executable).parent / "pneumoscope"


@dataclass(frozen=True)
class Outcome:
    """What a process said and cost."""

    stdout: str
    said: list[tuple[float, str]]
    """Lines of the error stream, each with the seconds since the start."""
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Counts:
    """How much there is to train."""

    train: int
    val: int
    images: int
    epochs: int
    seconds: dict[str, float]
    """What the epochs of each stage of ours took, without what is computed once."""


class MemorySampler(threading.Thread):
    """Samples a process tree's memory, files mapped from disk left out."""

    def __init__(self, process: int, interval: float = 0.1) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._process, self._interval = process, interval
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until told to end."""
        while not self._ended.wait(self._interval):
            total = sum(read_memory(process) for process in list_tree(self._process))
            self.peak_bytes = max(self.peak_bytes, total)

    def end(self) -> int:
        """Stop, and return the largest sum seen."""
        self._ended.set()
        self.join()
        return self.peak_bytes


def list_tree(process: int) -> list[int]:
    """Return a process and its descendants; those that just ended are left out."""
    tree = [process]
    for parent in tree:
        with suppress(OSError):
            for entry in Path(f"/proc/{parent}/task").glob("*/children"):
                tree += [int(child) for child in entry.read_text().split()]
    return tree


def read_memory(process: int) -> int:
    """Return the anonymous and shared bytes that a process holds, 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    held = [line.split()[1] for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
    return sum(map(int, held)) * 1024


def run_watched(command: Sequence[str | Path], **variables: str) -> Outcome:
    """Run a command to its end, or raise with the last it said."""
    started = time.perf_counter()
    said: list[tuple[float, str]] = []
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | variables,
        )
        sampler = MemorySampler(process.pid)
        sampler.start()
        assert process.stderr is not None
        said.extend((time.perf_counter() - started, line.rstrip()) for line in process.stderr)
        code = process.wait()
        seconds = time.perf_counter() - started
        peak = sampler.end()
        output.seek(0)
        stdout = output.read()
    if code:
        tail = "\n".join(line for _, line in said[-15:])
        raise SystemExit(f"{Path(command[0]).name} ended with {code}:\n{tail}")
    return Outcome(stdout, said, seconds, peak)


def prepare_split(data: str, folder: Path, limit: int | None) -> Path:
    """Lay the images out in the folders that both sides read."""
    split = folder / "split"
    part = ["--limit", str(limit)] if limit else []
    run_watched([TOOL, "data", "reorganize", data, split, "--quiet", *part])
    return split


def train_ours(split: Path, folder: Path, epochs: int | None) -> tuple[Outcome, Path]:
    """Run the recipe as a user does, with an empty cache."""
    out = folder / "run"
    command: list[str | Path] = [
        TOOL,
        "train",
        split,
        "--recipe",
        "classic",
        "--weights",
        "none",
        "--out",
        out,
    ]
    command += ["--device", "cpu"]
    for stage in STAGES:
        command += ["--set", f"{stage}.patience=null"]
    if epochs:
        command += ["--epochs", str(epochs)]
    return run_watched(command, PNEUMOSCOPE_CACHE=str(folder / "cache")), out


def count_work(split: Path, out: Path, epochs: int) -> Counts:
    """Return what was trained, after making sure that both sides had the same to do."""
    manifest = pl.read_parquet(out / "manifest.parquet")
    counts = {}
    for part in ("train", "val", "test"):
        counts[part] = manifest.filter(pl.col("split") == part).height
        files = sum(file.is_file() for file in (split / part).glob("*/*"))
        if counts[part] != files:
            raise SystemExit(f"{part}: ours took {counts[part]} images of {files}.")
    with (out / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    trained = {s: [float(row["seconds"]) for row in rows if row["stage"] == s] for s in STAGES}
    if any(len(taken) != epochs for taken in trained.values()):
        raise SystemExit(f"Ours did not train {epochs} epochs in each stage.")
    if not (out / "report.html").is_file() or not any((out / "bundle").iterdir()):
        raise SystemExit("Ours left no report or bundle.")
    seconds = {stage: sum(taken) for stage, taken in trained.items()}
    return Counts(counts["train"], counts["val"], sum(counts.values()), epochs, seconds)


def split_phases(ours: Outcome) -> dict[str, float]:
    """Return the seconds of ours by phase, cut where the tool says what it does."""
    marks = [0.0]
    for start in ("Class weighting: ", *(f"{stage}: " for stage in STAGES)):
        marks.append(next(when for when, line in ours.said if line.startswith(start)))
    marks.append(ours.seconds)
    names = ("start, reading, pixels", *STAGES, "judging, bundle, report")
    return {name: marks[i + 1] - marks[i] for i, name in enumerate(names)}


def time_keras(
    python: Path, split: Path, options: argparse.Namespace
) -> tuple[dict[str, Any], Outcome]:
    """Time some of the peer's steps."""
    command: list[str | Path] = [python, PEER, split, "--steps", str(options.steps)]
    command += ["--val-steps", str(options.val_steps)]
    outcome = run_watched(command, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    report: dict[str, Any] = json.loads(outcome.stdout.strip().splitlines()[-1])
    return report, outcome


def scale_keras(report: dict[str, Any], counts: Counts) -> dict[str, float]:
    """Return the seconds of the peer's stages, and its start, from its timed steps."""
    batch = report["batch"]
    scaled = {"start, compiling": report["setup"]}
    for stage in STAGES:
        timed = report["stages"][stage]
        epoch = counts.train * timed["train_step"] + counts.val * timed["val_step"]
        scaled[stage] = counts.epochs * epoch / batch
        scaled["start, compiling"] += timed["compiling"]
    return scaled


def describe_machine() -> str:
    """Return the processor, its cores and how busy they are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


def announce(text: str) -> None:
    """Say what comes next, and how busy the machine is."""
    print(f"{text} (load average {os.getloadavg()[0]:.1f}) …", file=sys.stderr, flush=True)


def print_subset(
    reports: Sequence[dict[str, Any]], counts: Counts, options: argparse.Namespace
) -> None:
    """Print what was timed of Keras, and how it drifted between the rounds."""
    batch = reports[0]["batch"]
    timed = reports[0]["stages"]["baseline"]
    steps = math.ceil(counts.train / batch), math.ceil(counts.val / batch)
    print(
        f"Keras {reports[0]['keras']} (TensorFlow {reports[0]['tensorflow']}) was not run whole: "
        f"in each of {len(reports)} rounds {timed['train_steps_timed']} of {steps[0]} training and "
        f"{timed['val_steps_timed']} of {steps[1]} validation steps of each stage were timed after "
        f"a warm-up, and scaled to {counts.epochs} epochs."
    )
    if timed["train_steps_timed"] < options.steps or timed["val_steps_timed"] < options.val_steps:
        print("Too few images for the steps asked: this is a try, not a measurement.")
    print(f"{'Keras, seconds a step of ' + str(batch) + ' images':36} before ours   after ours")
    for stage in STAGES:
        for kind in ("train", "val"):
            values = "".join(f"{r['stages'][stage][f'{kind}_step']:>13.3f}" for r in reports)
            print(f"{stage + ', ' + kind:34}{values}")


def print_table(
    ours: Outcome, counts: Counts, reports: Sequence[dict[str, Any]], keras_peak: int
) -> None:
    """Print the phases of both, memory, and the ratio last."""
    phases = split_phases(ours)
    rounds = [scale_keras(report, counts) for report in reports]
    keras = {name: statistics.mean(entry[name] for entry in rounds) for name in rounds[0]}
    totals = [sum(entry.values()) for entry in rounds]
    training = sum(phases[stage] for stage in STAGES), sum(keras[stage] for stage in STAGES)
    print(f"\n{'seconds':36} {'ours':>9} {'Keras, scaled':>14} {'ratio':>7}")
    print(f"{'start, reading, pixels':36} {phases['start, reading, pixels']:>9.1f}")
    print(f"{'start, compiling':36} {'':9} {keras['start, compiling']:>14.1f}")
    for stage in STAGES:
        print(f"{stage:36} {phases[stage]:>9.1f} {keras[stage]:>14.1f}")
        print(f"{'  its epochs alone':36} {counts.seconds[stage]:>9.1f}")
    print(f"{'judging, bundle, report':36} {phases['judging, bundle, report']:>9.1f}")
    print(
        f"{'training only':36} {training[0]:>9.1f} {training[1]:>14.1f} "
        f"{training[1] / training[0]:>6.1f}x"
    )
    whole = statistics.mean(totals)
    print(f"{'whole':36} {ours.seconds:>9.1f} {whole:>14.1f} {whole / ours.seconds:>6.1f}x")
    spread = " and ".join(f"{total / ours.seconds:.1f}x" for total in totals)
    print(f"Against the rounds of Keras taken alone, the whole: {spread}.")
    print(
        f"Peak memory without file pages: ours {ours.peak_bytes / 2**30:.2f} GiB, "
        f"Keras {keras_peak / 2**30:.2f} GiB."
    )
    print(f"{whole / ours.seconds:.1f}x")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The classic recipe against the same in Keras.")
    parser.add_argument("data", nargs="?", default=os.environ.get("PNEUMOSCOPE_DATA"))
    parser.add_argument("--keras", type=Path, required=True, help="a Python that has TensorFlow")
    parser.add_argument("--steps", type=int, default=20, help="training steps of Keras to time")
    parser.add_argument("--val-steps", type=int, default=8)
    parser.add_argument("--limit", type=int, help="take a part of about so many images")
    parser.add_argument("--epochs", type=int, help="at most so many in a stage, for a quick try")
    options = parser.parse_args()
    if not options.data:
        parser.error("name the folder, or set PNEUMOSCOPE_DATA.")
    if options.steps < 1 or options.val_steps < 1:
        parser.error("at least one step must be timed.")
    return options


def main() -> None:
    """Time Keras, ours, and Keras again."""
    options = parse_options()
    python = options.keras.absolute()
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="bench-training-") as name:
        folder = Path(name)
        announce("Preparing the split")
        split = prepare_split(options.data, folder, options.limit)
        announce("Keras, first round")
        before, first = time_keras(python, split, options)
        announce("Ours")
        ours, out = train_ours(split, folder, options.epochs)
        announce("Keras, second round")
        after, second = time_keras(python, split, options)
        counts = count_work(split, out, min(10, options.epochs or 10))
    print(
        f"{counts.images} images, {counts.train} to train on and {counts.val} to validate on; "
        f"{counts.epochs} + {counts.epochs} epochs, all of ours run, early stopping off; "
        "random starting weights."
    )
    print_subset([before, after], counts, options)
    print_table(ours, counts, [before, after], max(first.peak_bytes, second.peak_bytes))


if __name__ == "__main__":
    main()
