"""How often the heat-map's maximum lies in the lesion, on phantoms that the model never saw.

    python benchmarks/phantom_localisation.py demo/run/bundle

Compared with the lesion's share of the area: what a point thrown at random would hit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pneumoscope
from pneumoscope.datasets.phantom import write_phantoms
from pneumoscope.evaluation import wilson_interval
from pneumoscope.images import spread_over_image
from pneumoscope.runtime import Finding

#: How many times chance the maximum should hit.
TARGET = 3.0


def find_peak(finding: Finding, width: int, height: int) -> tuple[int, int]:
    """Return row and column, in pixels, of the maximum of the interpolated map."""
    assert finding.activation_map is not None
    wide = spread_over_image(finding.activation_map, width, height, finding.geometry)
    row, column = np.unravel_index(int(wide.argmax()), wide.shape)
    return int(row), int(column)


def measure(bundle: Path, folder: Path) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return, for each phantom with a lesion, whether the maximum hits it, and its area share."""
    predictor = pneumoscope.load(bundle)
    files = sorted((folder / "PNEUMONIA").glob("*.jpeg"))
    hits, shares = [], []
    for file, finding in zip(files, predictor.predict_many(files), strict=True):
        lesion = np.asarray(Image.open(folder / "lesion_masks" / f"{file.stem}.png")) > 0
        if finding.activation_map is None:
            raise SystemExit(f"{file} was not answered: {finding.message}")
        height, width = lesion.shape
        hits.append(lesion[find_peak(finding, width, height)])
        shares.append(lesion.mean())
    return np.array(hits, bool), np.array(shares, float)


def main() -> None:
    """Draw phantoms, ask the bundle, print the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("-n", type=int, default=400, help="phantoms, half of them with a lesion")
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        phantoms = Path(folder) / "phantoms"
        write_phantoms(phantoms, options.n, options.seed)
        hits, shares = measure(options.bundle, phantoms)
    interval = wilson_interval(int(hits.sum()), len(hits))
    assert interval is not None
    print(
        f"lesions {len(hits)}  hit {hits.mean():.3f} ({interval.low:.3f}-{interval.high:.3f})  "
        f"area share {shares.mean():.3f}"
    )
    ratio = hits.mean() / shares.mean()
    print(f"{ratio:.1f}x")
    if ratio < TARGET:
        raise SystemExit(f"Below the target of {TARGET:g} times chance.")


if __name__ == "__main__":
    main()
