"""A network with weights that are random but plausible, saved once for the whole session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle, BundleInfo, DataInfo, ImageHashes, OperatingPointInfo
from pneumoscope.images import PreprocessingSpec, from_array, preprocess
from pneumoscope.network import PneumoniaResNet50, draw_weights, save_bundle

SEEN = "5e" * 32


@pytest.fixture(autouse=True)
def _no_caches_no_proxies(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("PNEUMOSCOPE_WEIGHTS_MIRROR", raising=False)


def make_info(**changes: Any) -> BundleInfo:
    fields: dict[str, Any] = {
        "name": "plausible",
        "created": "2026-11-24T12:00:00+00:00",
        "preprocessing": PreprocessingSpec(),
        "operating_points": {"balanced": OperatingPointInfo(threshold=0.5, target="Youden")},
        "data": DataInfo(layout="kaggle", sources=["kaggle"], counts={}),
    }
    return BundleInfo(**{**fields, **changes})


def draw_images(n: int, seed: int) -> NDArray[np.float32]:
    """Return float32 [n, 3, 224, 224]: smooth grey shapes with noise, through the real path."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:300j, 0:1:260j]
    batch = []
    for _ in range(n):
        lungs = sum(
            np.exp(-(((x - rng.normal(c, 0.03)) / 0.16) ** 2) - ((y - 0.5) / 0.33) ** 2)
            for c in (0.28, 0.72)
        )
        ribs = 12 * np.sin(40 * y + 9 * (x - 0.5) ** 2 + rng.uniform(0, 6))
        grey = 185 - 130 * lungs + ribs + rng.normal(0, 9, x.shape) + rng.normal(0, 15)
        radiograph = from_array(np.clip(grey, 0, 255).astype(np.uint8), "MONOCHROME2")
        batch.append(preprocess(radiograph, PreprocessingSpec()))
    return np.stack(batch)


@pytest.fixture(scope="session")
def network() -> PneumoniaResNet50:
    """Batch-norm statistics as after training, and logits that spread over several units."""
    network = PneumoniaResNet50()
    draw_weights(network, seed=0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.2, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.momentum = 0.5
        network.train()
        for seed in range(3):
            network.run_parts(torch.from_numpy(draw_images(4, seed)))
        network.eval()
        network.fc.weight.normal_(0, 1, generator=generator)
        logits = network(torch.from_numpy(draw_images(4, 9)))
        scale = 2.0 / logits.std()
        network.fc.weight.mul_(scale)
        network.fc.bias.fill_(float(-logits.mean() * scale))
    return network


@pytest.fixture(scope="session")
def bundle(network: PneumoniaResNet50, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return save_bundle(
        tmp_path_factory.mktemp("export") / "bundle",
        network,
        make_info(),
        reference={"logits": np.zeros(2, np.float32), "labels": np.array([0, 1])},
        training_images=ImageHashes((SEEN,)),
    )


@pytest.fixture
def images() -> NDArray[np.float32]:
    return draw_images(6, seed=42)
