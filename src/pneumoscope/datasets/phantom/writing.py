"""A folder of phantoms in class folders, with the lesions' masks beside, written whole or not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pneumoscope._files import build_folder, write_atomically
from pneumoscope.datasets.items import NORMAL, PHANTOM_MARKER, PNEUMONIA
from pneumoscope.datasets.phantom.anatomy import draw_body
from pneumoscope.datasets.phantom.disease import Disease
from pneumoscope.datasets.phantom.projection import draw_phantom
from pneumoscope.errors import DataError

GENERATOR_VERSION = 1
MASKS = "lesion_masks"
_IMAGES_PER_PATIENT = 2


@dataclass(frozen=True)
class PhantomResult:
    """What was written, and where."""

    folder: Path
    counts: dict[str, int]
    changed: bool
    """False where the same phantoms were there already."""


@dataclass(frozen=True)
class _Plan:
    """One image to be drawn."""

    label: str
    name: str
    patient: int
    image: int
    disease: Disease | None


def write_phantoms(
    folder: str | Path,
    n: int,
    seed: int = 0,
    *,
    size: int = 224,
    progress: Callable[[int, int], None] | None = None,
) -> PhantomResult:
    """Write `n` phantoms, half of them with pneumonia, as NORMAL/ and PNEUMONIA/.

    Files are named as the Kermany collection names its own, so that patients are known; every
    patient has two images. The lesions' masks lie in `lesion_masks/`, which is never taken for a
    class. Phantom i is the same whatever `n` is. Running it twice changes nothing.

    Raises
    ------
    DataError
        `n` or `size` make no sense, or the folder holds something else.
    """
    folder = Path(folder).resolve()
    if n < 10 or n > 1_000_000 or not 64 <= size <= 2048:
        raise DataError(
            f"10 to 1,000,000 phantoms of 64 to 2048 pixels can be drawn, found {n}, {size}."
        )
    marker = {"generator": GENERATOR_VERSION, "seed": seed, "n": n, "size": size}
    counts = {NORMAL: n - n // 2, PNEUMONIA: n // 2}
    if folder.exists() and any(folder.iterdir()):
        if _read_marker(folder) == marker:
            return PhantomResult(folder, counts, changed=False)
        raise DataError(f"{folder} holds something else: choose a new folder, or remove it.")
    with build_folder(folder) as staging:
        for name in (NORMAL, PNEUMONIA, MASKS):
            (staging / name).mkdir()
        plans = [_plan(index) for index in range(n)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(lambda plan: _write_one(staging, plan, seed, size), plans)
            for done, _ in enumerate(drawn, start=1):
                if progress:
                    progress(done, n)
        note = "synthetic radiographs: for demonstrations and tests only"
        write_atomically(staging / PHANTOM_MARKER, json.dumps({**marker, "note": note}, indent=2))
    return PhantomResult(folder, counts, changed=True)


def _plan(index: int) -> _Plan:
    """Return the label, name and patient of phantom `index`, which depend on nothing else."""
    sick = index % 2 == 1
    rank = index // 2
    patient, image = divmod(rank, _IMAGES_PER_PATIENT)
    if not sick:
        series = "IM" if patient % 2 else "NORMAL2-IM"
        return _Plan(
            NORMAL, f"{series}-{patient + 1:04d}-{image + 1:04d}", 2 * patient, image, None
        )
    disease = Disease.INTERSTITIAL if patient % 2 else Disease.CONSOLIDATION
    cause = "virus" if patient % 2 else "bacteria"
    name = f"person{patient + 1}_{cause}_{rank + 1}"
    return _Plan(PNEUMONIA, name, 2 * patient + 1, image, disease)


def _write_one(folder: Path, plan: _Plan, seed: int, size: int) -> None:
    body = draw_body(np.random.default_rng([seed, plan.patient]))
    rng = np.random.default_rng([seed, plan.patient, plan.image + 1])
    phantom = draw_phantom(rng, plan.disease, body=body, size=size)
    path = folder / plan.label / f"{plan.name}.jpeg"
    Image.fromarray(phantom.pixels).save(path, quality=int(rng.integers(70, 96)))
    if plan.disease is not None:
        mask = Image.fromarray((phantom.lesion * 255).astype(np.uint8))
        mask.save(folder / MASKS / f"{plan.name}.png", optimize=True)


def _read_marker(folder: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads((folder / PHANTOM_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(tree, dict):
        return None
    return {key: tree.get(key) for key in ("generator", "seed", "n", "size")}
