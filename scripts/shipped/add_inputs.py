"""Give an equipped bundle what its calibration part looks like, and change nothing else.

    python scripts/shipped/make_parts.py chest_xray runs/shipped/parts
    python scripts/shipped/add_inputs.py src/pneumoscope/weights runs/shipped/parts/all.csv OUT

`pneumoscope bundle equip` keeps these `input_*` by itself; a bundle that was equipped before it did
needs no new thresholds, gate and precisions for them. The images of `val` must give the logits that
the bundle keeps, in their order: else they are not those that set its thresholds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pneumoscope.bundle import REFERENCE, Bundle, check_free, pack_arrays, read_bundle, write_files
from pneumoscope.datasets import build_manifest, load_pixels, open_collection, read_labels
from pneumoscope.runtime import Predictor, replace_inputs

#: Logits; engines and processors differ by less, images by far more.
TOLERANCE = 1e-3


def add_inputs(source: Path, data: Path, out: Path) -> Bundle:
    """Write the bundle to `out` with the `input_*` of the val part of `data`."""
    check_free(out)
    bundle = read_bundle(source)
    frame = build_manifest(open_collection(data)).frame.filter(split="val")
    predictor = Predictor(bundle, precision="fp32")
    squares = load_pixels(frame, predictor.preprocessing)
    outputs = predictor.predict_pixels(squares)
    arrays = bundle.reference()
    same = arrays["labels"].tolist() == read_labels(frame).tolist()
    if not same or not np.allclose(outputs.logits, arrays["logits"], rtol=0, atol=TOLERANCE):
        raise SystemExit(f"The val part of {data} is not the calibration part of {source}.")
    files: dict[str, bytes | Path] = {name: bundle.file(name) for name in bundle.info.files}
    files[REFERENCE] = pack_arrays(replace_inputs(arrays, squares, outputs.features))
    return write_files(out, bundle.info, files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="a manifest whose val part set its thresholds")
    parser.add_argument("out", type=Path, help="a new folder")
    arguments = parser.parse_args()
    made = add_inputs(arguments.bundle, arguments.data, arguments.out)
    print(f"{made.path}: {made.sha256}")
