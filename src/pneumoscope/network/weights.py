"""Initial weights: ImageNet's, a bundle's, a file's, or none; never ones that saw a test image."""

from __future__ import annotations

import pickle
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pneumoscope._files import find_cache_folder, hash_file, replace_atomically
from pneumoscope.bundle import Bundle, read_bundle
from pneumoscope.errors import DownloadError, WeightsError
from pneumoscope.images import Normalisation
from pneumoscope.network.resnet import PneumoniaResNet50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WeightsSource:
    """Where published weights live, and the start of their sha256."""

    name: str
    url: str
    sha256_prefix: str


#: torchvision's official ResNet50 weights, version 2 (top-1 80.858 %); BSD-3-Clause.
IMAGENET = WeightsSource(
    "IMAGENET1K_V2", "https://download.pytorch.org/models/resnet50-11ad3fa6.pth", "11ad3fa6"
)


@dataclass(frozen=True)
class WeightsOrigin:
    """Which weights a network was given, and what they bring along."""

    name: str
    sha256: str | None
    note: str
    normalisation: Normalisation | None = None
    """The input normalisation that the weights expect; None where they do not care."""
    keeps_head: bool = False
    """Whether the linear head came with the weights."""
    training_hashes: frozenset[str] = field(default_factory=frozenset)
    phantom: bool = False
    contaminated: int = 0
    """Number of test images that the weights have seen."""


def choose_weights(
    network: PneumoniaResNet50,
    request: str,
    *,
    test_hashes: Iterable[str] = (),
    allow_contamination: bool = False,
    seed: int = 0,
    source: WeightsSource = IMAGENET,
    progress: Progress | None = None,
) -> WeightsOrigin:
    """Load the weights that are asked for into `network` and say which and why.

    Parameters
    ----------
    request
        `auto`, `imagenet`, `bundled`, `none`, or a path: a torchvision or timm state dict (`.pth`,
        `.safetensors`) or a bundle. `auto` is imagenet where it is cached or can be had, else
        bundled; weights that have seen a test image are not taken, it then takes `none`.
    test_hashes
        sha256 of the test images; asked-for weights that have seen one are refused unless
        `allow_contamination`.

    Raises
    ------
    WeightsError
        The weights are missing, do not fit, or have seen a test image.
    """
    if request == "auto":
        return _choose_automatically(
            network, frozenset(test_hashes), allow_contamination, seed, source, progress
        )
    if request == "none":
        return _draw_weights(network, seed, "Weights: none, all layers start at random.")
    if request == "imagenet":
        path = fetch_weights(source, progress=progress)
        return _load_imagenet(network, path, source)
    bundle = _find_bundle(request)
    if bundle is None:
        return _load_file(network, Path(request))
    return _load_bundle(network, bundle, frozenset(test_hashes), allow_contamination)


def fetch_weights(source: WeightsSource = IMAGENET, *, progress: Progress | None = None) -> Path:
    """Return the path of published weights, downloaded once and checked against their hash.

    torch hub's own cache is used where it has them.

    Raises
    ------
    WeightsError
        They are not cached and cannot be downloaded, or what came is something else.
    """
    name = source.url.rsplit("/", 1)[-1]
    ours = find_cache_folder() / "weights" / name
    for path in (Path(torch.hub.get_dir()) / "checkpoints" / name, ours):
        if path.is_file() and hash_file(path).startswith(source.sha256_prefix):
            return path
    try:
        with replace_atomically(ours) as temporary:
            _download(source.url, temporary, progress)
            found = hash_file(temporary)
            if not found.startswith(source.sha256_prefix):
                raise WeightsError(
                    f"{source.url} answered something else: sha256 {found[:8]}…, expected "
                    f"{source.sha256_prefix}…; a proxy may stand in between."
                )
    except (OSError, urllib.error.URLError) as error:
        raise WeightsError(
            f"{source.name} weights are not cached and cannot be downloaded ({error}): put {name} "
            f"into {ours.parent}, or use --weights none --recipe robust, or --weights PATH."
        ) from error
    return ours


def _download(url: str, path: Path, progress: Progress | None) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "pneumoscope"})
    with urllib.request.urlopen(request, timeout=20) as answer, path.open("wb") as sink:
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        while piece := answer.read(1 << 20):
            sink.write(piece)
            done += len(piece)
            if progress:
                progress(done, total)
        if total and done < total:
            raise DownloadError(f"{url} broke off after {done} of {total} bytes.")


def _choose_automatically(
    network: PneumoniaResNet50,
    test_hashes: frozenset[str],
    allow_contamination: bool,
    seed: int,
    source: WeightsSource,
    progress: Progress | None,
) -> WeightsOrigin:
    try:
        return _load_imagenet(network, fetch_weights(source, progress=progress), source)
    except WeightsError as error:
        if "answered something else" in str(error):
            raise
    bundle = _find_bundle("bundled", required=False)
    if bundle is None:
        raise WeightsError(
            f"{source.name} weights are neither cached nor to be had, and no model is in the box: "
            f"put {source.url.rsplit('/', 1)[-1]} into {find_cache_folder() / 'weights'}, name a "
            "file or bundle with --weights PATH, or train from scratch with "
            "--recipe robust --weights none."
        )
    seen = len(test_hashes & bundle.training_hashes())
    if seen and not allow_contamination:
        return _draw_weights(
            network,
            seed,
            f"Weights: none, since the bundled ones have seen {seen} of {len(test_hashes)} test "
            f"images ({seen / len(test_hashes):.0%}) and {source.name} cannot be had.",
        )
    return _load_bundle(network, bundle, test_hashes, allow_contamination)


def _draw_weights(network: PneumoniaResNet50, seed: int, note: str) -> WeightsOrigin:
    """Draw all weights afresh from the seed, independent of the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.load_state_dict(PneumoniaResNet50(network.dropout.p).state_dict())
    return WeightsOrigin("none", None, note)


def _load_imagenet(network: PneumoniaResNet50, path: Path, source: WeightsSource) -> WeightsOrigin:
    _load_backbone(network, _read_state(path), path)
    note = f"Weights: {source.name} from {path}."
    return WeightsOrigin("imagenet", hash_file(path), note, Normalisation.IMAGENET)


def _find_bundle(request: str, required: bool = True) -> Bundle | None:
    if request == "bundled":
        folder = Path(str(resources.files("pneumoscope"))) / "model"
        if folder.is_dir():
            return read_bundle(folder)
        if required:
            raise WeightsError(
                "No model is in the box of this version: use --weights imagenet, none or PATH."
            )
        return None
    return read_bundle(Path(request)) if Path(request).is_dir() else None


def _load_bundle(
    network: PneumoniaResNet50,
    bundle: Bundle,
    test_hashes: frozenset[str],
    allow_contamination: bool,
) -> WeightsOrigin:
    hashes = bundle.training_hashes()
    seen = len(test_hashes & hashes)
    if seen and not allow_contamination:
        raise WeightsError(
            f"The weights of {bundle.path} have seen {seen} of {len(test_hashes)} test images "
            f"({seen / len(test_hashes):.0%}): use others, or --allow-contamination, which every "
            "report of the run will say."
        )
    path = bundle.file("model.safetensors")
    _load_backbone(network, _read_state(path), path, head=True)
    return WeightsOrigin(
        name=f"bundle {bundle.info.name}",
        sha256=bundle.info.files["model.safetensors"].sha256,
        note=f"Weights: the bundle {bundle.info.name} in {bundle.path}.",
        normalisation=bundle.info.preprocessing.normalisation,
        keeps_head=True,
        training_hashes=frozenset(hashes),
        phantom=bundle.info.data.phantom,
        contaminated=seen,
    )


def _load_file(network: PneumoniaResNet50, path: Path) -> WeightsOrigin:
    if not path.is_file():
        raise WeightsError(
            f"There are no weights {path}: choose auto, imagenet, bundled, none, a .pth or "
            ".safetensors file, or a bundle."
        )
    state = _read_state(path)
    has_head = "fc.weight" in state and state["fc.weight"].shape == (1, 2048)
    _load_backbone(network, state, path, head=has_head)
    return WeightsOrigin(
        name=path.name, sha256=hash_file(path), note=f"Weights: {path}.", keeps_head=has_head
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict; a pickle that holds more than tensors is refused."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        tree: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than plain tensors and is not opened: save its state dict alone."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is damaged or no weights file.") from error
    except Exception as error:  # safetensors has an error type of its own that it does not export
        if type(error).__name__ != "SafetensorError":
            raise
        raise WeightsError(f"{path} is damaged or no safetensors file.") from error
    for key in ("state_dict", "model", "network"):
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
    if not isinstance(tree, Mapping) or not all(isinstance(v, Tensor) for v in tree.values()):
        raise WeightsError(f"{path} holds no state dict of tensors.")
    return {str(name).removeprefix("module."): value for name, value in tree.items()}


def _load_backbone(
    network: PneumoniaResNet50, state: dict[str, Tensor], path: Path, head: bool = False
) -> None:
    """Load a ResNet50's parameters, named as torchvision and timm name them."""
    wanted = network.state_dict()
    taken = {
        name: value
        for name, value in state.items()
        if name in wanted and (head or not name.startswith("fc."))
    }
    needed = [n for n in wanted if not n.startswith("fc.") and "num_batches" not in n]
    missing = [name for name in needed if name not in taken]
    if missing:
        raise WeightsError(
            f"{path} is not a ResNet50: it lacks {len(missing)} of {len(needed)} tensors, such as "
            f"{', '.join(missing[:3])}."
        )
    wrong = [name for name, value in taken.items() if value.shape != wanted[name].shape]
    if wrong:
        found, expected = list(taken[wrong[0]].shape), list(wanted[wrong[0]].shape)
        raise WeightsError(f"{path} is not a ResNet50: {wrong[0]} is {found}, not {expected}.")
    network.load_state_dict(taken, strict=False)
