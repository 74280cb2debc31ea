"""From a radiograph to the network's input, the same in training and in serving.

The work has two halves. `resample` makes an 8-bit grey square: it is exact, small, and can be
cached. `normalise` turns such squares into what the weights want to see.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from pneumoscope.images.radiograph import Radiograph


class Resampler(StrEnum):
    """How pixels are interpolated; antialiased when shrinking where nothing else is said."""

    BILINEAR = "bilinear"
    BILINEAR_ALIASED = "bilinear_aliased"
    """Between the four nearest pixels only: OpenCV's `INTER_LINEAR`, TensorFlow's `image.resize`,
    Keras' `image_dataset_from_directory`."""
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    AREA = "area"
    NEAREST = "nearest"
    """What Keras' `load_img` does by default."""


class Geometry(StrEnum):
    """How a rectangle becomes a square."""

    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    """Aspect ratio kept, black bars added."""
    CENTER_CROP = "center_crop"
    """Aspect ratio kept, the longer side cut."""


class Normalisation(StrEnum):
    """How 0..255 becomes the numbers that the weights were trained on."""

    IMAGENET = "imagenet"
    """RGB / 255, minus ImageNet's mean, over its standard deviation (torchvision)."""
    CAFFE = "caffe"
    """BGR minus (103.939, 116.779, 123.68), not scaled (Keras' ResNet50 `preprocess_input`)."""
    UNIT = "unit"
    """RGB / 255."""
    SIGNED = "signed"
    """RGB / 127.5 - 1."""


class PreprocessingSpec(BaseModel):
    """All that decides the input tensor; stored in every bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(224, ge=32, le=1024, description="side of the square, pixels")
    resampler: Resampler = Resampler.BILINEAR
    geometry: Geometry = Geometry.STRETCH
    normalisation: Normalisation = Normalisation.IMAGENET

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        return self.size, self.size

    @property
    def decoding_size(self) -> int | None:
        """The `target_size` for reading; None where files are to be decoded in full."""
        return self.size


class RectangularSpec(PreprocessingSpec):
    """What a model of others takes: any rectangle, `size` pixels high, from files in full."""

    size: int = Field(ge=8, le=2048, description="height, pixels")
    width: int = Field(ge=8, le=2048, description="pixels")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        return self.size, self.width

    @property
    def decoding_size(self) -> None:
        """Always None: how its authors decoded is not known to be another way than in full."""
        return None


_FILTERS = {
    Resampler.BILINEAR: Image.Resampling.BILINEAR,
    Resampler.BILINEAR_ALIASED: Image.Resampling.BILINEAR,
    Resampler.BICUBIC: Image.Resampling.BICUBIC,
    Resampler.LANCZOS: Image.Resampling.LANCZOS,
    Resampler.AREA: Image.Resampling.BOX,
    Resampler.NEAREST: Image.Resampling.NEAREST,
}


def resample(radiograph: Radiograph, spec: PreprocessingSpec) -> NDArray[np.uint8]:
    """Return the radiograph as 8-bit grey pixels of the spec's shape, uint8 [height, width]."""
    image = Image.fromarray(_reduce_depth(radiograph))
    width, height = image.size
    down, across = spec.shape
    if spec.geometry is Geometry.STRETCH:
        same = image.size == (across, down)
        return np.asarray(image if same else _resize(image, (across, down), spec.resampler))
    if spec.geometry is Geometry.CENTER_CROP:
        inner_width = min(width, height * across / down)
        inner_height = min(height, width * down / across)
        left, top = (width - inner_width) / 2, (height - inner_height) / 2
        box = (left, top, left + inner_width, top + inner_height)
        return np.asarray(_resize(image, (across, down), spec.resampler, box))
    scale = min(across / width, down / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    whole = Image.new("L", (across, down), 0)
    place = ((across - inner[0]) // 2, (down - inner[1]) // 2)
    whole.paste(_resize(image, inner, spec.resampler), place)
    return np.asarray(whole)


def _resize(
    image: Image.Image,
    size: tuple[int, int],
    resampler: Resampler,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Return the image, or a box of it, with `size` pixels across and down."""
    if resampler is not Resampler.BILINEAR_ALIASED:
        return image.resize(size, _FILTERS[resampler], box=box)
    left, top, right, bottom = box or (0, 0, *image.size)
    affine = ((right - left) / size[0], 0, left, 0, (bottom - top) / size[1], top)
    return image.transform(size, Image.Transform.AFFINE, affine, _FILTERS[resampler])


def spread_over_image(
    square: NDArray[np.float32], width: int, height: int, geometry: Geometry
) -> NDArray[np.float32]:
    """Return values of the network's square where they lie on the image, float32 [height, width].

    The way back of `resample`: bars of a letterbox fall away, and what a crop cut off is 0.
    """
    values = Image.fromarray(square)
    cubic = Image.Resampling.BICUBIC
    if geometry is Geometry.STRETCH:
        return np.asarray(values.resize((width, height), cubic))
    across, down = values.size
    if geometry is Geometry.LETTERBOX:
        side = max(width, height)
        left, top = (side - width) / 2 / side * across, (side - height) / 2 / side * down
        box = (left, top, across - left, down - top)
        return np.asarray(values.resize((width, height), cubic, box=box))
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    out = np.zeros((height, width), np.float32)
    out[top : top + side, left : left + side] = np.asarray(values.resize((side, side), cubic))
    return out


def normalise(grey: NDArray[np.uint8], spec: PreprocessingSpec) -> NDArray[np.float32]:
    """Return float32 [..., 3, H, W] from uint8 [..., H, W]: grey replicated, then normalised."""
    tables = _TABLES[spec.normalisation]
    out = np.empty((*grey.shape[:-2], 3, *grey.shape[-2:]), np.float32)
    for channel in range(3):
        # A table of 256 answers is exact, and faster than arithmetic on every pixel.
        np.take(tables[channel], grey, out=out[..., channel, :, :])
    return out


def preprocess(radiograph: Radiograph, spec: PreprocessingSpec) -> NDArray[np.float32]:
    """Return the network's input, float32 [3, size, size], as the spec says."""
    return normalise(resample(radiograph, spec), spec)


def _reduce_depth(radiograph: Radiograph) -> NDArray[np.uint8]:
    """Return uint8 [H, W], rounding deeper pixels; 0 and the brightest stay what they are."""
    if radiograph.bits == 8:
        return radiograph.pixels.astype(np.uint8)
    top = (1 << radiograph.bits) - 1
    wide = radiograph.pixels.astype(np.uint32)
    return ((wide * 255 + top // 2) // top).astype(np.uint8)


def _build_table(normalisation: Normalisation) -> NDArray[np.float32]:
    """Return float32 [3, 256]: what each grey level becomes in each channel."""
    level = np.arange(256, dtype=np.float64)
    if normalisation is Normalisation.IMAGENET:
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        rows = [(level / 255 - m) / s for m, s in zip(mean, std, strict=True)]
    elif normalisation is Normalisation.CAFFE:
        rows = [level - mean for mean in (103.939, 116.779, 123.68)]
    elif normalisation is Normalisation.UNIT:
        rows = [level / 255] * 3
    else:
        rows = [level / 127.5 - 1] * 3
    return np.stack(rows).astype(np.float32)


_TABLES = {normalisation: _build_table(normalisation) for normalisation in Normalisation}
