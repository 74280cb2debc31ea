"""The input gate: is this an image that the model may answer at all?

Three lines, each with its own reason: plain facts of header, file and grey levels; what the image
looks like; and whether the network sees anything that it knows. The last two need statistics of
the training images, which a bundle has once it is equipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pneumoscope.images import Radiograph
from pneumoscope.runtime.descriptor import describe

#: Pixels; below this no detail of a chest is left.
MIN_SIDE = 64
#: Longer side over shorter side; a hundred radiographs at their original size stay below 2.
MAX_ASPECT = 4.0
#: Mean difference of the colour channels, 0..255: JPEG makes 1 or 2 of grey, photographs 15 to 90.
MAX_CHANNEL_SPREAD = 8.0
#: Grey levels of 255 between the darkest and the brightest hundredth; radiographs have 87 or more.
MIN_CONTRAST = 40.0
#: What the brightest hundredth must reach, and the darkest must not exceed, of 255; radiographs
#: reach 133, and do not exceed 162.
MIN_BRIGHTEST, MAX_DARKEST = 80.0, 200.0

#: DICOM modalities of radiographs, and of what says nothing: other, secondary capture.
RADIOGRAPHY = frozenset({"CR", "DX", "DR", "RG", "RF", "OT", "SC"})
#: DICOM view positions that are not frontal: lateral, oblique, decubitus (PS3.3 C.8.11.5).
NOT_FRONTAL = frozenset({"LL", "RL", "LLO", "RLO", "LLD", "RLD", "LAT", "LATERAL", "OBLIQUE"})

_WANTED = "an upright frontal radiograph of the whole chest is wanted"


class Look(StrEnum):
    """What an image can look like, in the order of the gate's outputs."""

    CHEST = "chest"
    INVERTED = "inverted"
    TURNED = "turned"
    CROPPED = "cropped"
    OTHER = "other"


_REASONS = {
    Look.INVERTED: "The image looks inverted, with bright air and dark bone: bright must be dense.",
    Look.TURNED: f"The chest lies sideways or upside down: {_WANTED}.",
    Look.CROPPED: f"The image seems to show a part of the chest only: {_WANTED}.",
    Look.OTHER: f"The image does not look like a chest radiograph: {_WANTED}.",
}


class _Looks(NamedTuple):
    """A network of one hidden layer that reads descriptors; float arrays."""

    hidden_weight: NDArray[np.float64]
    """[768, hidden]."""
    hidden_bias: NDArray[np.float64]
    output_weight: NDArray[np.float64]
    """[hidden, 5]."""
    output_bias: NDArray[np.float64]
    threshold: float
    """The least log-odds of a chest against all else that passes."""


class _Known(NamedTuple):
    """The subspace in which the features of training images lie."""

    mean: NDArray[np.float64]
    """[2048]."""
    basis: NDArray[np.float64]
    """[rank, 2048], orthonormal."""
    limit: float
    """The most squared distance from the subspace that passes."""

    def measure(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return squared distances, [N], of features, [N, 2048]."""
        return measure_distances(features, self.mean, self.basis)


class InputGate:
    """Tells usable frontal chest radiographs from everything else.

    Parameters
    ----------
    looks, known
        Statistics of training images; without them only the plain checks are made.
    """

    def __init__(self, looks: _Looks | None = None, known: _Known | None = None) -> None:
        self._looks = looks
        self._known = known

    @classmethod
    def from_reference(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the gate whose statistics, `gate_*`, lie in a bundle's `reference.npz`."""
        if "gate_hidden_weight" not in arrays:
            return cls()
        wide = {
            name.removeprefix("gate_"): np.asarray(array, np.float64)
            for name, array in arrays.items()
            if name.startswith("gate_")
        }
        looks = _Looks(
            wide["hidden_weight"],
            wide["hidden_bias"],
            wide["output_weight"],
            wide["output_bias"],
            float(wide["threshold"]),
        )
        known = _Known(wide["feature_mean"], wide["feature_basis"], float(wide["feature_limit"]))
        return cls(looks, known)

    def check(
        self, radiograph: Radiograph, square: NDArray[np.uint8], features: NDArray[np.float32]
    ) -> str | None:
        """Return why the image is rejected, in a sentence; None where it may be answered.

        Parameters
        ----------
        square
            The radiograph as the network sees it, uint8 [size, size].
        features
            Of the forward pass, float32 [2048].
        """
        reason = check_header(radiograph) or check_file(radiograph) or check_grey(square)
        if reason is None and self._looks is not None:
            odds, looks = judge_looks(describe(square[None]), *self._looks[:4])
            if odds[0] < self._looks.threshold:
                reason = _REASONS[looks[0]]
        known = self._known
        if reason is None and known is not None and known.measure(features[None])[0] > known.limit:
            reason = f"The network has never seen an image like this one: {_WANTED}."
        return reason

    def measure_features(self, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Return squared distances, float64 [N], of features, [N, 2048], from those of training.

        None where the gate has no statistics of these.
        """
        return None if self._known is None else self._known.measure(features)


def check_header(radiograph: Radiograph) -> str | None:
    """Return what a DICOM header says against the image; None where it says nothing."""
    modality, view = (_spell(text) for text in (radiograph.modality, radiograph.view))
    if modality and modality not in RADIOGRAPHY:
        return f"The DICOM header says that this is {modality}, not a radiograph: {_WANTED}."
    if view in NOT_FRONTAL:
        return f"The DICOM header says that the view is {view}, not PA or AP: {_WANTED}."
    return None


def _spell(text: str | None) -> str:
    return (text or "").strip().upper()


def check_file(radiograph: Radiograph) -> str | None:
    """Return what is wrong with size or colour; None where nothing is."""
    width, height = radiograph.original_size
    if min(width, height) < MIN_SIDE:
        return f"The image has {width}×{height} pixels: at least {MIN_SIDE} a side are needed."
    if max(width, height) > MAX_ASPECT * min(width, height):
        return f"The image is a strip of {width}×{height} pixels: {_WANTED}."
    if radiograph.channel_spread > MAX_CHANNEL_SPREAD:
        return "The image is in colour: a grey radiograph is wanted."
    return None


def check_grey(square: NDArray[np.uint8]) -> str | None:
    """Return what is wrong with the grey levels of a square; None where nothing is."""
    darkest, brightest = np.percentile(square, (1, 99))
    if brightest - darkest < MIN_CONTRAST:
        return f"The image is blank, all about {brightest:.0f} of 255: {_WANTED}."
    if brightest < MIN_BRIGHTEST:
        return (
            f"The image is too dark, nearly all below {brightest:.0f} of 255: export it with "
            "its full range of grey."
        )
    if darkest > MAX_DARKEST:
        return (
            f"The image is too bright, nearly all above {darkest:.0f} of 255: export it with "
            "its full range of grey."
        )
    return None


def judge_looks(
    descriptors: NDArray[np.float32],
    hidden_weight: NDArray[np.float64],
    hidden_bias: NDArray[np.float64],
    output_weight: NDArray[np.float64],
    output_bias: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[Look]]:
    """Return the log-odds of a chest, float64 [N], and what each image looks like otherwise."""
    hidden = np.maximum(descriptors @ hidden_weight + hidden_bias, 0)
    outputs = hidden @ output_weight + output_bias
    others = outputs[:, 1:]
    odds = outputs[:, 0] - np.logaddexp.reduce(others, axis=1)
    return odds, [list(Look)[1 + int(index)] for index in others.argmax(1)]


def measure_distances(
    features: NDArray[np.float32],
    mean: NDArray[np.floating[Any]],
    basis: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Return squared distances of features, [N, 2048], from a subspace, float64 [N].

    What a principal subspace of the training images leaves over shows the unknown better than a
    distance within it (Wang et al., "ViM", CVPR 2022).
    """
    centred = features.astype(np.float64) - mean
    within = centred @ np.asarray(basis, np.float64).T
    return np.asarray((centred**2).sum(1) - (within**2).sum(1))
