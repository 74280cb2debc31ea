"""The forward pass alone, of one bundle's weights: python forward.py WAY BUNDLE --seconds 10

A way is `torch-fp32`, `torch-bf16` (channels last), their `-compiled` kin, or an engine of ours
with a precision, such as `openvino-bf16`. Our graph also gives the heat-map and the features; the
ways of PyTorch give the logit alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from stopwatch import report, time_batches

from pneumoscope.bundle import Bundle, read_bundle
from pneumoscope.runtime import start_engine

Prepare = Callable[[int], Callable[[], object]]
_SIZE = 224


def draw_images(batch: int) -> np.ndarray:
    """Return a normalised batch; its values do not change what it costs."""
    shape = (batch, 3, _SIZE, _SIZE)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def open_engine(bundle: Bundle, name: str, precision: str) -> Prepare:
    """Return what runs one of our engines."""
    engine = start_engine(name, bundle, precision)

    def prepare(batch: int) -> Callable[[], object]:
        images = draw_images(batch)
        return lambda: engine.run(images)

    return prepare


def open_torch(bundle: Bundle, precision: str, compiled: bool) -> Prepare:
    """Return what runs the network of PyTorch."""
    if compiled and not shutil.which(os.environ.get("CXX", "c++")):
        raise SystemExit("torch.compile needs a C++ compiler, and none is here.")
    import torch

    from pneumoscope.network import load_network

    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    layout = torch.contiguous_format if precision == "fp32" else torch.channels_last
    network = load_network(bundle).to(kind).to(memory_format=layout)
    run = torch.compile(network, dynamic=False) if compiled else network

    def prepare(batch: int) -> Callable[[], object]:
        images = torch.from_numpy(draw_images(batch)).to(kind).to(memory_format=layout)

        def call() -> object:
            with torch.inference_mode():
                return run(images)

        return call

    return prepare


def main() -> None:
    """Time one way."""
    parser = argparse.ArgumentParser(description="The forward pass alone, timed.")
    parser.add_argument("way")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10, help="for each batch size")
    options = parser.parse_args()
    name, precision, *rest = options.way.split("-")
    bundle = read_bundle(options.bundle)
    if name == "torch":
        prepare = open_torch(bundle, precision, compiled=bool(rest))
    else:
        prepare = open_engine(bundle, name, precision)
    report(**time_batches(prepare, options.seconds))


if __name__ == "__main__":
    main()
