"""The activation cache: what is frozen is computed once per image, exactly, and kept on disk.

The classic recipe does not augment, so the output of the frozen parts never changes. A `layer3`
map takes about 0.4 MB an image in bf16. Files are keyed by the frozen weights, the preprocessing,
the precision, the software and the images, in order; a key is never shared by different contents.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from pneumoscope._files import find_cache_folder, make_room, replace_atomically
from pneumoscope.datasets import PIXEL_METHOD
from pneumoscope.images import PreprocessingSpec
from pneumoscope.network import PARTS, PneumoniaResNet50, fold_batch_norm
from pneumoscope.training.inputs import POOLED, ActivationInputs, Inputs, run_frozen

_log = logging.getLogger(__name__)

#: The cache keeps at most this many bytes; the oldest files go first.
CACHE_LIMIT = 20 * 2**30
_BATCH = 32
#: A part of the key: contents that were computed otherwise differ in their last bits.
_METHOD = "batch norm folded"


def load_activations(
    network: PneumoniaResNet50,
    source: Inputs,
    cut: str,
    *,
    image_hashes: Sequence[str],
    spec: PreprocessingSpec,
    autocast: torch.autocast,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> ActivationInputs | None:
    """Return the activations of all images behind `cut`, computed where they are not cached.

    `source` gives images, or activations behind an earlier cut, which saves the way up to there.
    Returns None where the disk or the cache's limit has no room for them; training then computes
    them anew each epoch.
    """
    key = _make_key(network, cut, image_hashes, spec, autocast)
    folder = find_cache_folder() / "activations"
    path = folder / f"{key}.bin"
    shape, dtype = _describe(cut, len(image_hashes), spec.size, autocast)
    needed = int(np.prod(shape)) * dtype.itemsize
    if path.is_file() and path.stat().st_size == needed:
        path.touch()  # the oldest by use goes first
    else:
        if needed > CACHE_LIMIT:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, "*.bin", needed, CACHE_LIMIT)
        free = shutil.disk_usage(folder).free
        if free < needed + 2**30:
            _log.warning("no room for %.1f GB of activations in %s", needed / 1e9, folder)
            return None
        with replace_atomically(path) as temporary:
            _compute(network, source, cut, temporary, shape, dtype, spec, autocast, progress)
    stored = torch.from_file(str(path), shared=False, size=int(np.prod(shape)), dtype=dtype)
    return ActivationInputs(stored.view(shape), cut, device)


@torch.no_grad()
def _compute(
    network: PneumoniaResNet50,
    source: Inputs,
    cut: str,
    path: Path,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    spec: PreprocessingSpec,
    autocast: torch.autocast,
    progress: Callable[[int, int], None] | None,
) -> None:
    frozen = fold_batch_norm(network)
    with path.open("wb") as stream:
        for start in range(0, shape[0], _BATCH):
            rows = np.arange(start, min(start + _BATCH, shape[0]))
            with autocast:
                batch = source.load_batch(rows, spec.size, train=False)
                batch = run_frozen(frozen, batch, cut, after=source.cut)
            if batch.ndim == 4:
                batch = batch.permute(0, 2, 3, 1)
            stored = batch.to(device="cpu", dtype=dtype).contiguous()
            stream.write(stored.view(torch.uint8).numpy().tobytes())
            if progress:
                progress(int(rows[-1]) + 1, shape[0])


def _describe(
    cut: str, n: int, size: int, autocast: torch.autocast
) -> tuple[tuple[int, ...], torch.dtype]:
    """Return the shape and type of `n` stored activations, channels last."""
    if cut == POOLED:
        return (n, 2048), torch.float32
    dtype = torch.bfloat16 if autocast._enabled else torch.float32
    shrink, channels = {
        "stem": (4, 64),
        "layer1": (4, 256),
        "layer2": (8, 512),
        "layer3": (16, 1024),
        "layer4": (32, 2048),
    }[cut]
    side = -(-size // shrink)
    return (n, side, side, channels), dtype


def _make_key(
    network: PneumoniaResNet50,
    cut: str,
    image_hashes: Sequence[str],
    spec: PreprocessingSpec,
    autocast: torch.autocast,
) -> str:
    digest = hashlib.sha256()
    frozen = PARTS if cut == POOLED else PARTS[: PARTS.index(cut) + 1]
    for name, value in network.state_dict().items():
        part = name.split(".")[0]
        if ("stem" if part in {"conv1", "bn1"} else part) in frozen:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    facts = (
        cut, spec.model_dump_json(), autocast._enabled, torch.__version__, autocast.device, _METHOD,
        PIXEL_METHOD,
    )  # fmt: skip
    digest.update(repr(facts).encode())
    digest.update("".join(image_hashes).encode())
    return digest.hexdigest()[:32]
