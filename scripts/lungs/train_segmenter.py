"""Train the small network that outlines lungs, and write it to `evidence/attention/lungs.onnx`.

    python scripts/lungs/train_segmenter.py runs/NAME/manifest.parquet

Nobody drew an outline on a real radiograph for it. It learns on phantoms first, whose lungs are
known, changed so much that real chests lie within; then on the radiographs of the split `train`
with the outlines that it found itself, kept where they have the shape of lungs, and whitened at
random, so that it draws a lung on although pneumonia hides its edge. Five minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import nn
from torch.nn import functional

from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.evidence.attention.lungs import SIDE, clean_mask, judge_mask, prepare_squares

WIDTHS = (12, 24, 36, 48)
OUT = Path(__file__).parents[2] / "src" / "pneumoscope" / "evidence" / "attention" / "lungs.onnx"

Plane = NDArray[np.float32]


class Segmenter(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of 170,000 weights, [N, 2, S, S] to [N, S, S]."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.down = nn.ModuleList([_block(2, a), _block(a, b), _block(b, c)])
        self.middle = nn.Sequential(_layer(c, d), _layer(d, d, 2), _layer(d, d, 4), _layer(d, d))
        self.up = nn.ModuleList([_block(d + c, c), _block(c + b, b), _block(b + a, a)])
        self.head = nn.Conv2d(a, 1, 1)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the probability that a pixel shows lung."""
        kept = []
        for block in self.down:
            planes = block(planes)
            kept.append(planes)
            planes = functional.max_pool2d(planes, 2)
        planes = self.middle(planes)
        for block, skipped in zip(self.up, reversed(kept), strict=True):
            planes = functional.interpolate(planes, scale_factor=2.0, mode="nearest")
            planes = block(torch.cat([planes, skipped], 1))
        return torch.sigmoid(self.head(planes)[:, 0])


def _layer(inside: int, outside: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(_layer(inside, outside), _layer(outside, outside))


def draw_examples(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return phantoms, uint8 [N, S, S], and their lungs, bool [N, S, S]."""
    squares, masks = [], []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        disease = (None, None, Disease.CONSOLIDATION, Disease.INTERSTITIAL)[index % 4]
        phantom = draw_phantom(rng, disease, size=2 * SIDE)
        squares.append(phantom.pixels.reshape(SIDE, 2, SIDE, 2).mean((1, 3)).astype(np.uint8))
        masks.append(phantom.lungs[::2, ::2])
    return np.stack(squares), np.stack(masks)


def change(
    rng: np.random.Generator, square: Plane, mask: Plane, strength: float
) -> tuple[Plane, Plane]:
    """Return an example in another shape, pose, exposure and state of health."""
    if rng.random() < strength - 0.2:
        square = _put_shoulders_above(rng, square, mask)
    where = _draw_positions(rng, strength)
    if rng.random() < 0.5:
        where[1] = SIDE - 1 - where[1]
    grey = map_coordinates(square, where, order=1, mode="nearest")
    lungs = map_coordinates(mask, where, order=1, mode="constant")
    grey = grey / 255
    if rng.random() < 0.6:
        grey = _whiten(rng, grey, lungs)
    field = gaussian_filter(rng.standard_normal((SIDE, SIDE)), SIDE / 4)
    grey = grey + field / field.std() * rng.uniform(0, 0.08)
    grey = np.clip(grey, 0, 1) ** np.exp(rng.uniform(-0.6, 0.6))
    for _ in range(rng.integers(0, 4)):  # markers, tubes, electrodes, limbs
        grey = _add_thing(rng, grey)
    grey = gaussian_filter(grey, rng.uniform(0, 0.8))
    grey = grey * rng.uniform(0.5, 1) + rng.normal(0, rng.uniform(0, 0.03), grey.shape)
    return grey.astype(np.float32) * 255, lungs.astype(np.float32)


def _put_shoulders_above(rng: np.random.Generator, square: Plane, mask: Plane) -> Plane:
    """Return a phantom with something else above its lungs.

    Phantoms end at their apices. A network that never saw shoulders, arms, a neck and a chin takes
    what lies beside the neck for lung.
    """
    top = int(np.flatnonzero(mask.any(1))[0])
    cut = max(0, top - int(rng.uniform(0.01, 0.06) * SIDE))
    level = np.quantile(square[cut : cut + SIDE // 3], rng.uniform(0.5, 0.97))
    field = sum(
        gaussian_filter(rng.standard_normal((SIDE, SIDE)), SIDE / width) * width
        for width in rng.uniform(4, 24, 2)
    )
    above = np.clip(level + field / field.std() * rng.uniform(8, 45), 0, 255)
    line = np.linspace(-1, 1, SIDE)
    y, x = np.meshgrid(line, line, indexing="ij")
    side = rng.uniform(0.5, 1.3) + rng.uniform(-0.6, 0.6) * y
    above = np.where(np.abs(x + rng.uniform(-0.1, 0.1)) > side, rng.uniform(0, 30), above) / 255
    for _ in range(rng.integers(2, 7)):
        above = _add_thing(rng, above.astype(np.float32))
    rows = np.indices((SIDE, SIDE))[0]
    share = np.clip((cut - rows) / rng.uniform(1, 6) + 0.5, 0, 1)
    mixed = square * (1 - share) + gaussian_filter(above, 0.7) * 255 * share
    return mixed.astype(np.float32)


def _draw_positions(rng: np.random.Generator, strength: float) -> NDArray[np.float64]:
    """Return where each pixel is looked up: turned, stretched, tapered, bent."""
    line = np.linspace(-1, 1, SIDE)
    y, x = np.meshgrid(line, line, indexing="ij")
    angle = np.deg2rad(rng.uniform(-12, 12)) * strength
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    # Children have narrow tops and broad bases: the top is looked up further out.
    x = x * (1 + strength * rng.uniform(-0.1, 0.35) * (-y))
    x = x * np.exp(strength * rng.uniform(-0.25, 0.35)) + strength * rng.uniform(-0.15, 0.15)
    y = y * np.exp(strength * rng.uniform(-0.25, 0.35)) + strength * rng.uniform(-0.4, 0.2)
    for plane in (x, y):
        bend = gaussian_filter(rng.standard_normal((SIDE, SIDE)), SIDE / 8, mode="nearest")
        plane += strength * rng.uniform(0, 0.09) * bend / bend.std()
    return np.stack([(y + 1) / 2, (x + 1) / 2]) * (SIDE - 1)


def _whiten(rng: np.random.Generator, grey: Plane, lungs: Plane) -> Plane:
    """Return the image with opacities in the lungs: patches, or the whole of a side."""
    line = np.linspace(-1, 1, SIDE)
    y, x = np.meshgrid(line, line, indexing="ij")
    bright = np.quantile(grey, rng.uniform(0.6, 0.95))
    for _ in range(rng.integers(1, 4)):
        at, wide = rng.uniform(-0.8, 0.8, 2), rng.uniform(0.15, 0.7, 2)
        near = np.exp(-((((x - at[0]) / wide[0]) ** 2 + ((y - at[1]) / wide[1]) ** 2) ** 2))
        share = near * rng.uniform(0.3, 1) * np.clip(gaussian_filter(lungs, 1), 0, 1)
        grey = grey * (1 - share) + bright * share
    return grey


def _add_thing(rng: np.random.Generator, grey: Plane) -> Plane:
    line = np.linspace(-1, 1, SIDE)
    y, x = np.meshgrid(line, line, indexing="ij")
    at, angle = rng.uniform(-1, 1, 2), rng.uniform(0, np.pi)
    along = (x - at[0]) * np.cos(angle) + (y - at[1]) * np.sin(angle)
    across = (y - at[1]) * np.cos(angle) - (x - at[0]) * np.sin(angle)
    long, thick = rng.choice([0.06, 0.2, 0.9]), rng.choice([0.012, 0.03, 0.06])
    thing = (np.abs(along) < long) & (np.abs(across) < thick)
    return np.where(thing, grey + rng.uniform(0.1, 0.6), grey).clip(0, 1)


def train(
    network: Segmenter,
    squares: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    strengths: NDArray[np.float64],
    weights: NDArray[np.float64],
    steps: int,
    seed: int,
) -> None:
    """Fit by cross-entropy plus Dice, each example changed anew."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    network.train()
    for step in range(steps):
        rows = rng.choice(len(squares), 16, p=weights / weights.sum())
        pairs = [
            change(rng, squares[r].astype(np.float32), masks[r].astype(np.float32), strengths[r])
            for r in rows
        ]
        planes = torch.from_numpy(prepare_squares(np.stack([grey for grey, _ in pairs])))
        wanted = torch.from_numpy(np.stack([mask for _, mask in pairs]))
        found = network(planes)
        overlap = 2 * (found * wanted).sum((1, 2)) + 1
        dice = overlap / (found.sum((1, 2)) + wanted.sum((1, 2)) + 1)
        loss = functional.binary_cross_entropy(found, wanted) + 1 - dice.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        if step % 50 == 49:
            print(
                f"step {step + 1}  loss {loss.item():.3f}  Dice {dice.mean().item():.3f}",
                flush=True,
            )
    network.eval()


@torch.no_grad()
def outline(network: Segmenter, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return lung probabilities, float32 [N, S, S]: the mean over the image and its mirror."""
    parts = []
    for start in range(0, len(squares), 64):
        planes = torch.from_numpy(prepare_squares(squares[start : start + 64].astype(np.float32)))
        mirrored = network(planes.flip(-1)).flip(-1)
        parts.append(((network(planes) + mirrored) / 2).numpy())
    return np.concatenate(parts)


def read_squares(manifest: Path, most: int, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Return images of the split `train`, as many of each label, and their labels."""
    frame = pl.read_parquet(manifest).filter(pl.col("split") == "train")
    parts = [
        frame.filter(pl.col("label") == label).sample(most // 2, seed=seed)
        for label in ("NORMAL", "PNEUMONIA")
    ]
    frame = pl.concat(parts)
    return (
        np.stack(
            [
                np.asarray(Image.open(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
                for path in frame["path"]
            ]
        ),
        frame["label"].to_list(),
    )


def export(network: Segmenter, path: Path) -> None:
    """Write the ONNX graph."""
    example = torch.zeros(1, 2, SIDE, SIDE)
    torch.onnx.export(
        network,
        (example,),
        str(path),
        input_names=["planes"],
        output_names=["lungs"],
        dynamic_axes={"planes": {0: "n"}, "lungs": {0: "n"}},
        dynamo=False,
        opset_version=17,
    )


def main() -> None:
    """Train on phantoms, then on what was found in real images, and write the graph."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--phantoms", type=int, default=400)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--steps", type=int, default=450, help="of each round")
    parser.add_argument("--rounds", type=int, default=1, help="of learning from its own outlines")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    drawn, lungs = draw_examples(options.phantoms, seed=1_000)
    network = Segmenter()
    ones = np.ones(len(drawn))
    train(network, drawn, lungs, ones, ones, options.steps, seed=0)
    export(network, options.out.with_suffix(".phantoms.onnx"))
    squares, labels = read_squares(options.manifest, options.images, seed=0)
    for number in range(options.rounds):
        probabilities = outline(network, squares)
        masks = np.stack([clean_mask(plane) for plane in probabilities])
        good = np.array(
            [
                judge_mask(mask, plane, square.astype(float)) is None
                for mask, plane, square in zip(masks, probabilities, squares, strict=True)
            ]
        )
        normal = np.array([label == "NORMAL" for label in labels])
        print(f"kept {good[normal].mean():.2f} of NORMAL, {good[~normal].mean():.2f} of PNEUMONIA")
        # Outlines of normal lungs are the surest; whitening makes pneumonias of them.
        weight = np.where(normal[good], 1.0, 0.5)
        weight = np.r_[weight / weight.sum(), 0.3 * ones / len(ones)]
        train(
            network,
            np.concatenate([squares[good], drawn]),
            np.concatenate([masks[good], lungs]),
            np.r_[np.full(int(good.sum()), 0.5), ones],
            weight,
            options.steps,
            seed=1 + number,
        )
    export(network, options.out)


if __name__ == "__main__":
    main()
