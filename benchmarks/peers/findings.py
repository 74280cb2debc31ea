"""Ours, files to findings: python findings.py BUNDLE FOLDER --precision bf16

Every file of the folder is read, decoded, resampled, answered and judged, its 7x7 heat-map
included, by `Predictor.predict_many` as it comes. With --overlays heat-maps are drawn over the
files at their full resolution instead, one after the other.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from stopwatch import report

import pneumoscope
from pneumoscope.runtime import Predictor, Status, count_cores, save_heatmap

_WARM_UP = 32


def time_findings(predictor: Predictor, files: list[Path]) -> tuple[Counter[str], float]:
    """Return how many findings have which status, and the seconds from first file to last."""
    statuses: Counter[str] = Counter()
    started = time.perf_counter()
    for finding in predictor.predict_many(files):
        if finding.status == Status.ERROR:
            raise SystemExit(f"{finding.path} was not answered: {finding.message}")
        statuses[finding.status.value] += 1
    return statuses, time.perf_counter() - started


def time_overlays(
    predictor: Predictor, files: list[Path], folder: Path
) -> tuple[Counter[str], float]:
    """Return how many overlays were drawn, of findings made before, and the seconds for them."""
    findings = predictor.predict_many(files)
    answered = [pair for pair in zip(files, findings, strict=True) if pair[1].status == Status.OK]
    started = time.perf_counter()
    for file, finding in answered:
        save_heatmap(folder, finding, file)
    return Counter({"ok": len(answered)}), time.perf_counter() - started


def main() -> None:
    """Time one precision on one folder."""
    parser = argparse.ArgumentParser(description="Ours, files to findings, timed.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--overlays", type=Path, help="draw overlays into this folder instead")
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.jpeg"))
    predictor = pneumoscope.load(options.bundle, precision=options.precision, streams=count_cores())
    time_findings(predictor, files[:_WARM_UP])
    if options.overlays:
        statuses, seconds = time_overlays(predictor, files, options.overlays)
    else:
        statuses, seconds = time_findings(predictor, files)
    images = statuses.total()
    report(images=images, seconds=seconds, rate=images / seconds, statuses=statuses)


if __name__ == "__main__":
    main()
