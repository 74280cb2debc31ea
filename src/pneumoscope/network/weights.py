"""Initial weights: which to start from, why, and whether they have seen a test image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pneumoscope._files import hash_file
from pneumoscope.bundle import Bundle, ImageHashes, find_shipped_bundle, is_bundle, read_bundle
from pneumoscope.errors import DownloadError, WeightsError
from pneumoscope.images import Normalisation
from pneumoscope.network.backbone import read_backbone_facts
from pneumoscope.network.download import (
    IMAGENET,
    MIRROR_VARIABLE,
    WeightsSource,
    fetch_weights,
    find_weights,
)
from pneumoscope.network.export import load_network
from pneumoscope.network.resnet import PneumoniaResNet50, initialise_head
from pneumoscope.network.states import fit_state, read_state

Progress = Callable[[int, int], None]
_NO_IMAGES = ImageHashes()

_OTHER_WAYS = (
    "use --weights PATH (a state dict of torchvision's or timm's resnet50, or a bundle), set "
    f"{MIRROR_VARIABLE}, or train from nothing with --weights none --recipe robust"
)


@dataclass(frozen=True)
class WeightsOrigin:
    """What the network starts from, for the record of the run."""

    name: str
    """`imagenet`, `bundled`, `none`, or `file:NAME` and `bundle:NAME`."""
    note: str
    """A sentence that says what was taken, and why."""
    sha256: str | None = None
    """Of the file of the weights; None for random ones."""
    normalisation: Normalisation | None = None
    """What the weights were trained with; None where that is not known or does not matter."""
    training_images: ImageHashes = _NO_IMAGES
    """Every image that the weights have seen, where they say so."""
    phantom: bool = False
    """The weights come from synthetic radiographs."""
    keeps_head: bool = False
    """The linear head came along; otherwise it was drawn afresh."""
    contaminated: int = 0
    """Test images that the weights have seen, where the user allowed it."""


@dataclass(frozen=True)
class Contamination:
    """How many of the test images the starting weights were trained on."""

    seen: int
    total: int

    def __str__(self) -> str:
        share = self.seen / self.total if self.total else 0.0
        return f"{self.seen} of {self.total} test images ({share:.1%})"


def check_contamination(origin: WeightsOrigin, test_images: ImageHashes) -> Contamination:
    """Count the test images that the weights say they were trained on, copies included."""
    found = origin.training_images.find(test_images)
    return Contamination(int(found.sum()), len(found))


def choose_weights(
    network: PneumoniaResNet50,
    request: str = "auto",
    *,
    test_images: ImageHashes = _NO_IMAGES,
    allow_contamination: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    imagenet: WeightsSource = IMAGENET,
    shipped: Path | None = None,
) -> WeightsOrigin:
    """Load initial weights into `network`, and say which they are.

    Parameters
    ----------
    request
        `auto`: ImageNet's where they are cached or can be had, else the bundled ones; never what
        has seen a test image, rather none. `imagenet`, `bundled`, `none`, or a path: a state dict
        (`.pth`, `.pt`, `.safetensors`) or a bundle.
    test_images
        Weights that were trained on one of them, or on a copy of one, are refused.
    allow_contamination
        Take them all the same; the count is in the result, for every report.
    seed
        Of what is drawn at random: everything for `none`, the head where none came along.
    progress
        Called with bytes done and in all while weights are downloaded.
    imagenet, shipped
        Where the official weights live, and the bundle in the box (found where None).

    Raises
    ------
    WeightsError
        The weights are missing, damaged, do not fit, or have seen a test image.
    DownloadError
        ImageNet weights were asked for and cannot be had.
    """
    shipped = shipped or find_shipped_bundle()
    match request:
        case "auto":
            origin = _load_auto(network, imagenet, shipped, progress)
        case "imagenet":
            origin = _load_imagenet(network, imagenet, progress)
        case "bundled":
            origin = _load_shipped(network, shipped)
        case "none":
            origin = draw_weights(network, seed)
        case _:
            origin = _load_path(network, Path(request))
    contamination = check_contamination(origin, test_images)
    if contamination.seen and allow_contamination:
        origin = dataclasses.replace(
            origin,
            contaminated=contamination.seen,
            note=f"{origin.note} They have seen {contamination} (--allow-contamination): the "
            "test numbers of this run are too good.",
        )
    elif contamination.seen and request == "auto":
        origin = dataclasses.replace(
            draw_weights(network, seed),
            note=f"The {origin.name} weights have seen {contamination}, so random weights are "
            "taken instead (--allow-contamination overrides).",
        )
    elif contamination.seen:
        raise WeightsError(
            f"The weights {origin.name} have seen {contamination}; start from others, or go on "
            "with --allow-contamination, which every report of the run will say."
        )
    if not origin.keeps_head:
        initialise_head(network, seed)
    return origin


def load_initial_weights(
    network: PneumoniaResNet50, weights: str | Path, *, seed: int = 0
) -> WeightsOrigin:
    """Load exactly the weights that are named, with no test images to be checked against."""
    return choose_weights(network, str(weights), seed=seed)


def draw_weights(network: PneumoniaResNet50, seed: int) -> WeightsOrigin:
    """Draw all weights at random (He et al. 2015), seeded, and leave the global state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.load_state_dict(PneumoniaResNet50().state_dict())
    initialise_head(network, seed)
    return WeightsOrigin("none", "Starting from random weights.")


def _load_auto(
    network: PneumoniaResNet50,
    imagenet: WeightsSource,
    shipped: Path | None,
    progress: Progress | None,
) -> WeightsOrigin:
    """ImageNet's, else the ones in the box, else a sentence: never random ones unasked."""
    try:
        return _load_imagenet(network, imagenet, progress)
    except DownloadError as error:
        if shipped is None:
            raise WeightsError(
                "Neither ImageNet weights nor bundled ones are at hand: "
                f"{_strip_advice(error)}; {_OTHER_WAYS}."
            ) from error
        origin = _load_shipped(network, shipped)
        note = f"{origin.note} ImageNet weights were not at hand: {_strip_advice(error)}."
        return dataclasses.replace(origin, note=note)


def _load_imagenet(
    network: PneumoniaResNet50, source: WeightsSource, progress: Progress | None
) -> WeightsOrigin:
    path = find_weights(source)
    how = "were cached"
    if path is None:
        how = "were downloaded and are cached now"
        try:
            path = fetch_weights(source, progress=progress)
        except DownloadError as error:
            raise DownloadError(f"{str(error).rstrip('.')}; {_OTHER_WAYS}.") from error
    fit_state(network, read_state(path), str(path))
    return WeightsOrigin(
        name="imagenet",
        note=f"Starting from ImageNet weights (torchvision's IMAGENET1K_V2), which {how}.",
        sha256=hash_file(path),
        normalisation=Normalisation.IMAGENET,
    )


def _load_shipped(network: PneumoniaResNet50, shipped: Path | None) -> WeightsOrigin:
    if shipped is None:
        raise WeightsError(
            "This installation brings no weights of its own; use --weights imagenet, --weights "
            "PATH, or --weights none --recipe robust."
        )
    bundle = read_bundle(shipped)
    return dataclasses.replace(
        _load_bundle(network, bundle),
        name="bundled",
        note="Starting from the weights that come with Pneumoscope." + _name_terms(bundle),
    )


def _load_path(network: PneumoniaResNet50, path: Path) -> WeightsOrigin:
    # Weights inside a bundle keep the bundle's memory of what they have seen.
    folder = path.parent if path.name == "model.safetensors" else path
    if is_bundle(folder):
        return _load_bundle(network, read_bundle(folder))
    if path.is_dir():
        hint = f"; give {path / 'bundle'}" if is_bundle(path / "bundle") else ""
        raise WeightsError(f"{path} is a folder, but not a bundle{hint or ': it has no weights'}.")
    if not path.is_file():
        raise WeightsError(
            f"There are no weights at {path}; allowed are auto, imagenet, bundled, none, or the "
            "path of a state dict (.pth, .pt, .safetensors) or of a bundle."
        )
    keeps_head = fit_state(network, read_state(path), str(path))
    facts = read_backbone_facts(path)
    origin = WeightsOrigin(
        name=f"file:{path.name}",
        note=f"Starting from {path.name}; what images these weights have seen is not known.",
        sha256=hash_file(path),
        keeps_head=keeps_head,
    )
    if facts is None:
        return origin
    seen = len(facts.training_images.sha256)
    return dataclasses.replace(
        origin,
        note=f"Starting from {path.name}, pretrained without labels on {seen} images.",
        normalisation=facts.normalisation,
        training_images=facts.training_images,
        phantom=facts.phantom,
    )


def _load_bundle(network: PneumoniaResNet50, bundle: Bundle) -> WeightsOrigin:
    network.load_state_dict(load_network(bundle).state_dict())
    info = bundle.info
    return WeightsOrigin(
        name=f"bundle:{info.name}",
        note=f"Starting from the bundle {info.name}"
        + (", which was trained on synthetic phantoms." if info.data.phantom else ".")
        + _name_terms(bundle),
        sha256=info.files["model.safetensors"].sha256,
        normalisation=info.preprocessing.normalisation,
        training_images=bundle.training_images(),
        phantom=info.data.phantom,
        keeps_head=True,
    )


def _name_terms(bundle: Bundle) -> str:
    """Return the licence of the weights: whoever goes on from them has to name it too."""
    licence = bundle.info.licence
    return f" They are under {licence.name}: {licence.attribution}" if licence else ""


def _strip_advice(error: DownloadError) -> str:
    """Return what happened, without the ways that are left."""
    return str(error).partition("; ")[0].rstrip(".")
