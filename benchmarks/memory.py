"""Whether memory stays flat over a long stream of images.

    python benchmarks/memory.py --images 50000 --precision int8

Of the model in the box, or of --bundle. The images are JPEG files in memory, a few hundred that
differ, again and again.
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


def main() -> None:
    """Print the memory at the start, every 10,000 images, and at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundled"))
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--precision", default="fp32", help="fp32, bf16, int8 or auto")
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        predictor = pneumoscope.load(options.bundle, precision=options.precision)
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
