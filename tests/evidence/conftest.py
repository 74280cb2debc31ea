"""A bundle that errs in both directions, and phantoms that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def strangers(tmp_path_factory) -> Path:
    """Forty phantoms that no bundle has seen; read-only."""
    from pneumoscope.datasets.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("strangers") / "set"
    write_phantoms(folder, 40, seed=77, size=64)
    return folder


@pytest.fixture(scope="session")
def erring_bundle(bundle, strangers, tmp_path_factory) -> Path:
    """The bundle with its threshold amid the strangers' scores: each outcome occurs."""
    import pneumoscope
    from pneumoscope.bundle import read_bundle, write_files

    opened = read_bundle(bundle)
    scores = {
        label: [f.probability for f in pneumoscope.load(bundle).predict_many(_list(folder))]
        for label in ("NORMAL", "PNEUMONIA")
        for folder in [strangers / label]
    }
    # Above some sick and below some healthy ones, whatever little the network has learned.
    threshold = float(np.median(np.concatenate(list(scores.values()))))
    points = {
        name: point.model_copy(update={"threshold": threshold + shift})
        for (name, point), shift in zip(
            opened.info.operating_points.items(), (-0.001, 0, 0.001), strict=True
        )
    }
    info = opened.info.model_copy(update={"operating_points": points})
    folder = tmp_path_factory.mktemp("erring") / "bundle"
    write_files(folder, info, {name: opened.file(name) for name in opened.info.files})
    return folder


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())
