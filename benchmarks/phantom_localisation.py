"""How often the heat-map's maximum lies in the lesion, on phantoms that the model never saw.

    python benchmarks/phantom_localisation.py demo/run/bundle

Compared with the lesion's share of the area: what a point thrown at random would hit. `pneumoscope
evaluate --attention` measures the same on any phantoms.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import pneumoscope
from pneumoscope.datasets.phantom import write_phantoms
from pneumoscope.evidence import measure_localisation, read_lesion

#: How many times chance the maximum should hit.
TARGET = 3.0


def measure(bundle: Path, folder: Path) -> dict[str, Any]:
    """Return how the heat-maps of all phantoms with a lesion fall."""
    predictor = pneumoscope.load(bundle)
    files = sorted((folder / "PNEUMONIA").glob("*.jpeg"))
    maps, lesions = [], []
    for file, finding in zip(files, predictor.predict_many(files), strict=True):
        if finding.activation_map is None:
            raise SystemExit(f"{file} was not answered: {finding.message}")
        lesion = read_lesion(file, predictor.preprocessing.size)
        assert lesion is not None  # every phantom with pneumonia has one
        maps.append(finding.activation_map)
        lesions.append(lesion)
    return measure_localisation(np.stack(maps), np.stack(lesions))


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
        found = measure(options.bundle, phantoms)
    low, high = found["interval"]
    print(
        f"lesions {found['n']}  hit {found['hit']:.3f} ({low:.3f}-{high:.3f})  "
        f"area share {found['area']:.3f}"
    )
    print(f"{found['times_chance']:.1f}x")
    if found["times_chance"] < TARGET:
        raise SystemExit(f"Below the target of {TARGET:g} times chance.")


if __name__ == "__main__":
    main()
