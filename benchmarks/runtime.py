"""Prediction against Keras and against the bare network, on the same files and machine.

    PNEUMOSCOPE_DATA=data python benchmarks/runtime.py --keras .venv-keras/bin/python

The folder holds chest_xray/train/*/*.jpeg (small files) and originals/*/*.jpeg (full resolution).
Everything that is timed runs in a process of its own, one after the other. Runs on Linux, on the
processor alone. Prints tables; the last line is our rate over Keras' on the originals.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import Disturbance, describe_machine
from PIL import Image

from pneumoscope.bundle import Bundle, read_bundle
from pneumoscope.errors import PneumoscopeError
from pneumoscope.runtime import find_bundled_model

PEERS = Path(__file__).parent / "peers"
TOOLS = Path(sys.executable).parent
SETS = {"originals": "originals/*/*.jpeg", "small": "chest_xray/train/*/*.jpeg"}
TARGET_SHARE = 0.85
#: A batch of Keras: its files are a multiple of it.
BATCH = 32
Report = dict[str, Any]


@dataclass
class Results:
    """What was measured; what was skipped holds a sentence under `skipped` instead."""

    machine: dict[str, str]
    files: dict[str, Report] = field(default_factory=dict)
    rounds: list[dict[str, dict[str, Report]]] = field(default_factory=list)
    """For each round and set: a report for each precision, and `keras`; then `benchmark_app`."""
    loop: dict[str, Report] = field(default_factory=dict)
    overlays: dict[str, Report] = field(default_factory=dict)
    forward: dict[str, Report] = field(default_factory=dict)
    cold: Report = field(default_factory=dict)
    others_cores: float = 0.0
    """Cores that other programs kept busy meanwhile."""

    def list_rates(self, files: str, who: str) -> list[float]:
        """Return the images a second of every round that has them."""
        reports = [entry[files].get(who, {}) for entry in self.rounds]
        return [report["rate"] for report in reports if "rate" in report]


# -- measuring ------------------------------------------------------------------------------------


def time_part(title: str, command: Sequence[str | Path], **variables: str) -> Report:
    """Run what reports JSON in its last line; a failure becomes its last words."""
    print(f"{title} …", file=sys.stderr, flush=True)
    started = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()
        return {"skipped": said[-1]}
    report: Report = json.loads(done.stdout.strip().splitlines()[-1])
    return report | {"process_seconds": time.perf_counter() - started}


def copy_files(data: Path, folder: Path, options: argparse.Namespace) -> Report:
    """Lay out the files that both sides read, real copies; the first of them are for Keras."""
    described = {}
    for name, pattern in SETS.items():
        found = sorted(data.glob(pattern))
        if not found:
            raise SystemExit(f"{data} holds no {pattern}: set PNEUMOSCOPE_DATA to its folder.")
        # Spread over the folder, so that both classes are in it.
        chosen = found[:: max(1, len(found) // options.files)]
        for part in ("first", "rest"):
            (folder / name / part).mkdir(parents=True)
        for index, file in enumerate(itertools.islice(itertools.cycle(chosen), options.files)):
            part = "first" if index < options.keras_files else "rest"
            shutil.copyfile(file, folder / name / part / f"{index:05}.jpeg")
        sizes = [Image.open(file).size for file in chosen]
        described[name] = {
            "files": options.files,
            "different": min(len(chosen), options.files),
            "pixels": statistics.median(width * height for width, height in sizes),
            "bytes": statistics.mean(file.stat().st_size for file in chosen),
        }
    return described


def time_round(
    number: int, folder: Path, bundle: Bundle, options: argparse.Namespace
) -> dict[str, dict[str, Report]]:
    """Time ours at each precision, then Keras, on each set of files, and the bare graphs."""
    taken: dict[str, dict[str, Report]] = {}
    for name in SETS:
        taken[name] = {}
        for precision in list_precisions(bundle):
            title = f"Round {number}, {name}, ours, {precision}"
            command = [sys.executable, PEERS / "findings.py", bundle.path, folder / name]
            found = time_part(title, [*command, "--precision", precision])
            if "skipped" in found:  # a peer may be missing, ours may not
                raise SystemExit(f"Ours failed at {precision}: {found['skipped']}")
            taken[name][precision] = found
        title = f"Round {number}, {name}, Keras"
        taken[name]["keras"] = time_keras(title, options, "dataset", folder / name / "first")
    taken["benchmark_app"] = {
        precision: time_benchmark_app(bundle, precision, options.seconds)
        for precision in list_precisions(bundle)
    }
    return taken


def time_keras(title: str, options: argparse.Namespace, *arguments: str | Path) -> Report:
    """Time one way of Keras, where it is installed."""
    if options.keras is None:
        return {"skipped": "Keras was not named with --keras."}
    if not options.keras.is_file():
        return {"skipped": f"There is no {options.keras}: `make bench-runtime` installs Keras."}
    command = [options.keras, PEERS / "keras_predict.py", *arguments]
    return time_part(title, command, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")


def time_forward(bundle: Bundle, options: argparse.Namespace) -> dict[str, Report]:
    """Time the network without files, in every way."""
    precisions = list_precisions(bundle)
    ways = [f"torch-{kind}" for kind in ("fp32", "bf16", "fp32-compiled", "bf16-compiled")]
    ways += [f"onnxruntime-{precision}" for precision in precisions if precision != "bf16"]
    ways += [f"openvino-{precision}" for precision in precisions]
    seconds = ["--seconds", str(options.seconds)]
    taken = {"keras": time_keras("Forward pass, keras", options, "forward", *seconds)}
    for way in ways:
        command = [sys.executable, PEERS / "forward.py", way, bundle.path, *seconds]
        taken[way] = time_part(f"Forward pass, {way}", command)
    return taken


def time_benchmark_app(bundle: Bundle, precision: str, seconds: float) -> Report:
    """Ask OpenVINO's own tool what the graph can do at most on this machine."""
    print(f"benchmark_app, {precision} …", file=sys.stderr, flush=True)
    graph = bundle.info.precisions[precision].graph if precision != "fp32" else "model.onnx"
    kind = "bf16" if precision == "bf16" else "f32"
    command = [TOOLS / "benchmark_app", "-m", bundle.file(graph), "-d", "CPU"]
    command += ["-hint", "throughput", "-infer_precision", kind, "-t", str(max(1, round(seconds)))]
    command += ["-data_shape", "[1,3,224,224]"]
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"skipped": "benchmark_app is not here or failed."}
    found = [line.split()[-2] for line in done.stdout.splitlines() if "Throughput:" in line]
    return {"rate": float(found[-1]), "seconds": seconds}


def time_cold_start(bundle: Bundle, image: Path, folder: Path) -> Report:
    """Time `pneumoscope predict` on one file, the first time ever and afterwards."""
    taken = []
    command = [TOOLS / "pneumoscope", "predict", image, "--bundle", bundle.path, "--quiet"]
    variables = os.environ | {"PNEUMOSCOPE_CACHE": str(folder / "cache")}
    for run in range(6):
        print(f"Cold start, run {run} …", file=sys.stderr, flush=True)
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
        taken.append(time.perf_counter() - started)
        if done.returncode:
            raise SystemExit(f"`pneumoscope predict` failed: {done.stderr.strip()}")
    return {"first": taken[0], "later": statistics.median(taken[1:]), "all": taken}


def list_precisions(bundle: Bundle) -> list[str]:
    """Return what the bundle offers, the reference first."""
    offered = [name for name, info in bundle.info.precisions.items() if info.accepted]
    return ["fp32", *(name for name in ("bf16", "int8") if name in offered)]


def measure(data: Path, bundle: Bundle, options: argparse.Namespace) -> Results:
    """Measure everything, rounds of ours and of Keras in turn."""
    results = Results(describe_machine() | {"bundle": bundle.info.name})
    disturbance = Disturbance()
    with tempfile.TemporaryDirectory(prefix="bench-runtime-") as name:
        folder = Path(name)
        results.files = copy_files(data, folder, options)
        results.cold = time_cold_start(bundle, folder / "originals/first/00000.jpeg", folder)
        for number in range(1, options.rounds + 1):
            results.rounds.append(time_round(number, folder, bundle, options))
        most = str(min(100, options.keras_files))
        for files in SETS:
            part, out = folder / files / "first", folder / "overlays" / files
            out.mkdir(parents=True)
            ours = [sys.executable, PEERS / "findings.py", bundle.path, part, "--overlays", out]
            results.overlays[files] = time_part(f"Overlays, {files}", ours)
            way = ("loop", part, "--most", most)
            results.loop[files] = time_keras(f"Keras one by one, {files}", options, *way)
        results.forward = time_forward(bundle, options)
    results.others_cores = disturbance.measure_cores()
    return results


# -- telling --------------------------------------------------------------------------------------


def list_sentences(results: Results) -> Iterator[str]:
    """Yield what a reader must know of how it was measured, and what was skipped."""
    for name, entry in results.files.items():
        yield (
            f"{name}: {entry['files']:,} files, {entry['different']:,} of them different, "
            f"{entry['pixels'] / 1e6:.2f} megapixels in the median, {entry['bytes'] / 1e3:.0f} kB "
            "on average."
        )
        keras = results.rounds[0][name]["keras"]
        if "images" in keras:
            yield f"Keras took {keras['images']:,} of them: its rate is what is compared."
        rejected = results.rounds[0][name]["fp32"].get("statuses", {}).get("rejected", 0)
        if rejected:
            yield f"The gate rejected {rejected} of them, after the same work."
    keras = results.forward["keras"]
    if "keras" in keras:
        yield f"Keras {keras['keras']} on TensorFlow {keras['tensorflow']}, random weights."
    yield f"Other programs kept {results.others_cores:.2f} cores busy meanwhile."
    named = itertools.chain(
        *(part.items() for entry in results.rounds for part in entry.values()),
        *(part.items() for part in (results.overlays, results.loop, results.forward)),
    )
    for way, report in dict.fromkeys((way, report.get("skipped")) for way, report in named):
        if report:
            yield f"Skipped, {way}: {report}"


def print_findings(results: Results) -> None:
    """Print files to findings: the median of the rounds, and what they spread."""
    for name in SETS:
        print(f"\n{'files to findings, ' + name:28} {'images/s':>9} {'rounds':>24} {'Keras':>8}")
        keras = results.list_rates(name, "keras")
        for who in results.rounds[0][name]:
            rates = results.list_rates(name, who)
            if not rates:
                continue
            rounds = " ".join(f"{rate:.1f}" for rate in rates)
            times = f"{'–':>8}"
            if keras:
                times = f"{find_ratio(results, (name, who), (name, 'keras')):>7.1f}x"
            print(f"{who:28} {statistics.median(rates):>9.1f} {rounds:>24} {times}")
        for title, part in (("keras, one by one", results.loop), ("overlays", results.overlays)):
            if "rate" in part[name]:
                count = f"{part[name]['images']} files"
                print(f"{title:28} {part[name]['rate']:>9.1f} {count:>24}")


def find_ratio(results: Results, ours: tuple[str, str], other: tuple[str, str]) -> float:
    """Return the median over the rounds of one rate over another of the same round.

    Each is named by its set of files and who answered them.
    """
    pairs = [(entry[ours[0]][ours[1]], entry[other[0]][other[1]]) for entry in results.rounds]
    return statistics.median(
        mine["rate"] / theirs["rate"] for mine, theirs in pairs if "rate" in mine.keys() & theirs
    )


def print_forward(results: Results) -> None:
    """Print the forward pass, and what our files to findings reach of benchmark_app."""
    print(f"\n{'forward pass':28} {'ms, one':>9} {'images/s':>9} {'batch':>6}")
    for way, report in results.forward.items():
        if "rates" in report:
            batch, rate = max(report["rates"].items(), key=lambda entry: entry[1])
            print(f"{way:28} {report['latency_ms']:>9.1f} {rate:>9.1f} {batch:>6}")
    print(f"\n{'benchmark_app':28} {'images/s':>9} " + " ".join(f"{name:>11}" for name in SETS))
    for precision in results.rounds[0]["benchmark_app"]:
        rates = results.list_rates("benchmark_app", precision)
        if rates:
            bare = "benchmark_app", precision
            shares = [find_ratio(results, (name, precision), bare) for name in SETS]
            row = " ".join(f"{share:>11.0%}" for share in shares)
            print(f"{precision:28} {statistics.median(rates):>9.1f} {row}")
    print(f"Our files to findings should reach {TARGET_SHARE:.0%} of it.")


def print_all(results: Results) -> None:
    """Print every table; the main ratio is the last line."""
    for name, value in results.machine.items():
        print(f"{name:14} {value}")
    for sentence in list_sentences(results):
        print(sentence)
    print_findings(results)
    print_forward(results)
    cold = results.cold
    print(f"\n{'predict one.jpg, seconds':28} {'first':>9} {'later':>9}")
    print(f"{'':28} {cold['first']:>9.2f} {cold['later']:>9.2f}")
    precision = "bf16" if results.list_rates("originals", "bf16") else "fp32"
    if not results.list_rates("originals", "keras"):
        raise SystemExit("There is no ratio, since Keras was not measured.")
    print(f"\nFiles to findings on the originals, {precision} against Keras:")
    ratio = find_ratio(results, ("originals", precision), ("originals", "keras"))
    print(f"{ratio:.1f}x")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Prediction against Keras and the bare network.")
    parser.add_argument("data", nargs="?", type=Path, default=os.environ.get("PNEUMOSCOPE_DATA"))
    parser.add_argument("--bundle", type=Path, help="the model in the box by default")
    parser.add_argument("--keras", type=Path, help="a Python that has TensorFlow")
    parser.add_argument("--files", type=int, default=2000, help="files of each set")
    parser.add_argument("--keras-files", type=int, default=800, help="of them, for Keras")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each forward pass")
    parser.add_argument("--out", type=Path, help="write everything that was measured, as JSON")
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the folder of chest_xray/ and originals/, or set PNEUMOSCOPE_DATA.")
    options.keras_files = min(options.keras_files, options.files) // BATCH * BATCH
    if options.keras_files < BATCH or options.rounds < 1:
        parser.error(f"at least {BATCH} files and one round are needed.")
    return options


def main() -> None:
    """Measure, write and print."""
    options = parse_options()
    try:
        bundle = read_bundle(options.bundle or find_bundled_model())
    except PneumoscopeError as error:
        raise SystemExit(str(error)) from error
    results = measure(Path(options.data), bundle, options)
    if options.out:
        options.out.write_text(json.dumps(vars(results), indent=1) + "\n", encoding="utf-8")
    print_all(results)


if __name__ == "__main__":
    main()
