"""How good the lung masks are: Dice on phantoms, and a sheet of overlays on real images to look at.

    python benchmarks/lung_masks.py --sheet MANIFEST --out lung_masks.jpg

Nobody has outlined lungs on the real images, so a person has to look.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.evidence import outline_lungs

DISEASES = (None, Disease.CONSOLIDATION, Disease.INTERSTITIAL)
EDGE = (255, 120, 40)
SIDE = 168


def measure_dice(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Return the overlap of two masks, 0..1."""
    return float(2 * (one & two).sum() / max(1, one.sum() + two.sum()))


def judge_phantoms(count: int, seeds: tuple[int, ...]) -> None:
    """Print Dice by seed and disease."""
    for seed in seeds:
        for disease in DISEASES:
            phantoms = [
                draw_phantom(np.random.default_rng([seed, index]), disease)
                for index in range(count)
            ]
            found = outline_lungs(np.stack([phantom.pixels for phantom in phantoms]))
            dice = [
                measure_dice(mask, phantom.lungs)
                for mask, phantom in zip(found.masks, phantoms, strict=True)
            ]
            print(
                f"seed {seed}  {disease or 'normal':14} Dice {np.mean(dice):.3f}  "
                f"lowest {np.min(dice):.3f}  used {found.usable.sum()} of {count}"
            )


def draw_sheet(manifest: Path, split: str, seed: int, each: int, out: Path) -> None:
    """Draw as many images of each label, the mask's edge on them, numbered; print what failed."""
    frame = pl.read_parquet(manifest).filter(pl.col("split") == split)
    parts = [
        frame.filter(pl.col("label") == label).sample(each, seed=seed)
        for label in ("NORMAL", "PNEUMONIA")
    ]
    paths = pl.concat(parts)["path"].to_list()
    squares = np.stack([np.asarray(Image.open(p).convert("L").resize((224, 224))) for p in paths])
    found = outline_lungs(squares)
    across = 10
    sheet = Image.new("RGB", (across * SIDE, -(-len(paths) // across) * SIDE))
    for place, (square, mask) in enumerate(zip(squares, found.masks, strict=True)):
        rgb = np.repeat(square[..., None], 3, 2)
        rgb[binary_dilation(mask) & ~mask] = EDGE
        tile = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(tile)
        pen.text((3, 2), str(place + 1), fill=(255, 255, 0))
        if fault := found.faults[place]:
            pen.text((24, 2), f"not used: {fault}", fill=(255, 80, 80))
            print(place + 1, fault)
        sheet.paste(tile, (place % across * SIDE, place // across * SIDE))
    sheet.save(out, quality=80)


def main() -> None:
    """Measure, and draw where a manifest is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=30, help="phantoms of each kind and seed")
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13])
    parser.add_argument("--sheet", type=Path, metavar="MANIFEST")
    parser.add_argument("--split", default="val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("lung_masks.jpg"))
    options = parser.parse_args()
    judge_phantoms(options.n, tuple(options.seeds))
    if options.sheet:
        draw_sheet(options.sheet, options.split, options.seed, 25, options.out)


if __name__ == "__main__":
    main()
