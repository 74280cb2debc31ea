"""The model-randomisation check: a heat-map that explains a model must change with its weights.

Layers are given the weights of an untrained network one after the other, from the head down; the
maps of each stage are compared with the original (Adebayo et al. 2018, "Sanity Checks for Saliency
Maps", arXiv:1810.03292). Maps that stay alike would be pictures of the image, not of the model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from pneumoscope.bundle import (
    GRAPH,
    REQUIRED_FILES,
    WEIGHTS,
    Bundle,
    view_tensors,
    write_files,
)
from pneumoscope.errors import BundleError
from pneumoscope.images import Geometry, normalise, spread_over_image
from pneumoscope.runtime import equal_reference, start_engine

Progress = Callable[[int, int], None]
Tensors = Mapping[str, NDArray[Any]]

#: From the head down: what each stage randomises besides all before it.
STAGES = (
    ("head", ("fc.",)),
    ("layer4", ("layer4.",)),
    ("layer3", ("layer3.",)),
    ("layer2", ("layer2.",)),
    ("layer1", ("layer1.",)),
    ("stem", ("conv1.", "bn1.")),
)
MEASURES = ("spearman", "spearman_absolute", "ssim")
_BATCH = 8
_SSIM_SIDE = 56


def measure_randomisation(
    bundle: Bundle,
    squares: NDArray[np.uint8],
    *,
    engine: str = "openvino",
    precision: str = "fp32",
    draws: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return how alike the maps are to the original at each stage of the cascade.

    Parameters
    ----------
    squares
        uint8 [N, size, size], at least two.
    draws
        Times that the whole cascade is repeated with other random weights.

    Returns
    -------
    dict
        `stages`: a list with name and, for each measure, the mean and the 5th and 95th percentile
        over images and draws; `another_image`: the same for the map of another image under the
        original weights, which is how alike unrelated maps are anyway.

    Raises
    ------
    BundleError
        The weights are not those of a ResNet50 under torchvision's names.
    """
    precision = precision if precision in {"fp32", "bf16"} else "fp32"
    original = bundle.file(WEIGHTS).read_bytes()
    _check_names(original, bundle)
    total = 1 + draws * len(STAGES)
    compared: dict[str, list[dict[str, NDArray[np.float64]]]] = {name: [] for name, _ in STAGES}

    def answer(weights: bytes | bytearray, done: int) -> NDArray[np.float32]:
        maps = _run(bundle, bytes(weights), squares, engine, precision)
        if progress:
            progress(done, total)
        return maps

    maps = answer(original, 1)
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        weights = bytearray(original)
        for step, (stage, prefixes) in enumerate(STAGES):
            randomise(view_tensors(weights), prefixes, rng)
            found = answer(weights, 2 + draw * len(STAGES) + step)
            compared[stage].append(compare_maps(maps, found))
    return {
        "n": len(squares),
        "draws": draws,
        "stages": [
            {"name": stage} | {m: _summarise([c[m] for c in compared[stage]]) for m in MEASURES}
            for stage, _ in STAGES
        ],
        "another_image": {
            m: _summarise([values]) for m, values in compare_maps(maps, np.roll(maps, 1, 0)).items()
        },
    }


def randomise(tensors: Tensors, prefixes: tuple[str, ...], rng: np.random.Generator) -> None:
    """Give the tensors of some layers, in place, the values of an untrained network.

    Convolutions are drawn by He's rule, which keeps the size of activations through a layer;
    batch norm becomes the identity (scale and variance 1, shift and mean 0), since stored
    statistics would belong to other filters and drown or blow up the signal. A block is then
    homogeneous: what it is given scaled, it returns scaled, and no unit dies for its statistics.
    The head is drawn as a linear layer's usual start.
    """
    for name in sorted(tensors):
        tensor = tensors[name]
        if not name.startswith(prefixes) or tensor.dtype.kind != "f":
            continue
        if tensor.ndim == 4:
            fan_out = tensor.shape[0] * tensor.shape[2] * tensor.shape[3]
            tensor[...] = rng.standard_normal(tensor.shape) * np.sqrt(2 / fan_out)
        elif tensor.ndim == 2:
            tensor[...] = rng.uniform(-1, 1, tensor.shape) / np.sqrt(tensor.shape[1])
        else:
            tensor[...] = float(name.endswith((".weight", ".running_var")))


def compare_maps(
    one: NDArray[np.float32], two: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Return measure → likeness of each pair of maps, float64 [N], -1..1; 1 is the same.

    `spearman` is the rank correlation of the signed maps, `spearman_absolute` of their absolute
    values; `ssim` the structural similarity of what is drawn, the enlarged positive parts.
    """
    return {
        "spearman": _correlate_ranks(one, two),
        "spearman_absolute": _correlate_ranks(np.abs(one), np.abs(two)),
        "ssim": np.array([_compare_structure(a, b) for a, b in zip(one, two, strict=True)]),
    }


def _check_names(weights: bytes, bundle: Bundle) -> None:
    try:
        names = list(view_tensors(bytearray(weights)))
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {WEIGHTS} is {error}.") from error
    for stage, prefixes in STAGES:
        if not any(name.startswith(prefixes) for name in names):
            raise BundleError(
                f"{bundle.path}: {WEIGHTS} has no layer {stage}: its layers cannot be randomised."
            )


def _run(
    bundle: Bundle, weights: bytes, squares: NDArray[np.uint8], engine: str, precision: str
) -> NDArray[np.float32]:
    """Return the activation maps of the bundle's graph with other weights."""
    files: dict[str, bytes | Path] = {name: bundle.file(name) for name in REQUIRED_FILES}
    files[WEIGHTS] = weights
    offered = {} if precision == "fp32" else {precision: equal_reference(bundle.info, GRAPH)}
    info = bundle.info.model_copy(update={"precisions": offered})
    spec = bundle.info.preprocessing
    with tempfile.TemporaryDirectory() as name:
        trial = write_files(Path(name) / "trial", info, files)
        # Nobody will start these weights again: the compiled model is not kept.
        runner = start_engine(engine, trial, precision, keep=False)
        parts = [
            runner.run(normalise(squares[start : start + _BATCH], spec)).activation_maps
            for start in range(0, len(squares), _BATCH)
        ]
    return np.concatenate(parts)


def _correlate_ranks(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Spearman's correlation of each pair; 0 where a map is flat and has no ranks."""
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (one, two)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(scale > 0, (a * b).sum(1) / np.maximum(scale, 1e-12), 0.0)


def _compare_structure(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Return the mean SSIM (Wang et al. 2004) of two maps as they are drawn, 0..1."""
    a, b = (_draw(plane) for plane in (one, two))

    def blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = gaussian_filter(plane, 1.5, truncate=3.5)
        return blurred

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    shared = blur(a * b) - mean_a * mean_b
    light, contrast = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + light) * (2 * shared + contrast)
    bottom = (mean_a**2 + mean_b**2 + light) * (var_a + var_b + contrast)
    return float((top / bottom).mean())


def _draw(plane: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = spread_over_image(np.maximum(plane, 0), _SSIM_SIDE, _SSIM_SIDE, Geometry.STRETCH)
    wide = np.maximum(wide, 0).astype(np.float64)
    return np.asarray(wide / max(float(wide.max()), 1e-12), np.float64)


def _summarise(parts: list[NDArray[np.float64]]) -> dict[str, float]:
    values = np.concatenate(parts)
    low, high = np.quantile(values, [0.05, 0.95])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}
