"""Whether memory stays flat over a long stream of images.

    python benchmarks/memory.py --bundle demo/run/bundle --images 50000

Without --bundle a small one is trained on phantoms first. The images are JPEG files in memory, a
few hundred that differ, again and again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import pneumoscope
from pneumoscope.datasets.phantom import write_phantoms

#: Growth from the first 10,000 images to the end that is no leak, in MiB.
ALLOWED = 20


def measure_resident() -> float:
    """Return the memory of this process that lies in RAM, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def train_small(folder: Path) -> Path:
    """Return a bundle of 64 pixels, trained for an epoch."""
    from pneumoscope.training import Silent, TrainingRequest, load_recipe, train

    write_phantoms(folder / "training", 60, seed=3, size=64)
    settings = ("preprocessing.size=64", "baseline.epochs=1", "finetuned.epochs=1")
    recipe = load_recipe("classic", (*settings, "precision=fp32"))
    request = TrainingRequest(folder / "training", folder / "run", recipe, weights="none", seed=1)
    train(request, Silent())
    return folder / "run" / "bundle"


def main() -> None:
    """Print the memory at the start, every 10,000 images, and at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.bundle is None and os.fork() == 0:
            # In a process of its own, so that what training needed is not counted.
            train_small(folder)
            os._exit(0)
        if options.bundle is None:
            os.wait()
        predictor = pneumoscope.load(options.bundle or folder / "run" / "bundle")
        write_phantoms(folder / "images", 300, seed=5, size=256)
        files = [file.read_bytes() for file in sorted((folder / "images").rglob("*.jpeg"))]

    print(f"{'images':>8}  {'MiB':>6}  images/s")
    print(f"{0:>8,}  {measure_resident():>6.0f}")
    started, early = time.monotonic(), 0.0
    stream = itertools.islice(itertools.cycle(files), options.images)
    for done, _ in enumerate(predictor.predict_many(stream, jobs=options.jobs), start=1):
        if done % 10_000 == 0 or done == options.images:
            now = measure_resident()
            early = early or now
            print(f"{done:>8,}  {now:>6.0f}  {done / (time.monotonic() - started):.0f}", flush=True)
    growth = measure_resident() - early
    print(f"{growth:+.1f} MiB after the first 10,000; at most {ALLOWED} are allowed")
    sys.exit(growth > ALLOWED)


if __name__ == "__main__":
    main()
