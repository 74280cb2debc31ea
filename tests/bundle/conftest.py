"""A tiny bundle: the real file formats around twelve numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumoscope.bundle import (
    Bundle,
    BundleInfo,
    DataInfo,
    ImageHashes,
    OperatingPointInfo,
    write_bundle,
)
from pneumoscope.images import PreprocessingSpec

MakeInfo = Callable[..., BundleInfo]
MakeBundle = Callable[..., Bundle]

DIGESTS = ("ff" * 32, "00" * 32, "ab" * 32)


@pytest.fixture
def make_info() -> MakeInfo:
    def make(**changes: Any) -> BundleInfo:
        fields: dict[str, Any] = {
            "name": "tiny",
            "created": "2026-11-24T12:00:00+00:00",
            "preprocessing": PreprocessingSpec(),
            "operating_points": {
                "rule_out": OperatingPointInfo(threshold=0.1, target="sensitivity 0.99"),
                "balanced": OperatingPointInfo(
                    threshold=0.4, target="Youden", sensitivity=0.97, specificity=0.9
                ),
                "rule_in": OperatingPointInfo(threshold=0.8, target="specificity 0.95"),
            },
            "metrics": {"finetuned": {"test": {"n": 9, "auc": 0.98, "recall": None}}},
            "training": {"final": "finetuned", "seed": 3},
            "data": DataInfo(
                layout="kaggle",
                sources=["kaggle"],
                counts={"train": {"NORMAL": 20, "PNEUMONIA": 30}},
            ),
            "versions": {"pneumoscope": "0.1.0"},
        }
        return BundleInfo(**{**fields, **changes})

    return make


@pytest.fixture
def make_bundle(tmp_path: Path, make_info: MakeInfo) -> MakeBundle:
    def make(path: Path = tmp_path / "bundle", **changes: Any) -> Bundle:
        arguments: dict[str, Any] = {
            "weights": {
                "fc.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
                "bn.num_batches_tracked": np.array(7),
            },
            "graph": lambda places: repr(sorted(places)).encode(),
            "reference": {"logits": np.array([-1.5, 2.5], np.float32), "labels": np.array([0, 1])},
            "training_images": ImageHashes(DIGESTS),
        }
        info = changes.pop("info", None) or make_info()
        return write_bundle(path, info, **{**arguments, **changes})

    return make
