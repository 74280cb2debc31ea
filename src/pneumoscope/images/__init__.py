"""Images: bytes become a checked radiograph, a radiograph becomes the network's input."""

from pneumoscope.images.preprocessing import (
    Geometry,
    Normalisation,
    PreprocessingSpec,
    RectangularSpec,
    Resampler,
    normalise,
    preprocess,
    resample,
    spread_over_image,
)
from pneumoscope.images.radiograph import (
    IMAGE_SUFFIXES,
    MAX_BYTES,
    Radiograph,
    from_array,
    is_image_file,
    is_visible,
    reduce_to_square,
)
from pneumoscope.images.reading import read

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "Geometry",
    "Normalisation",
    "PreprocessingSpec",
    "Radiograph",
    "RectangularSpec",
    "Resampler",
    "from_array",
    "is_image_file",
    "is_visible",
    "normalise",
    "preprocess",
    "read",
    "reduce_to_square",
    "resample",
    "spread_over_image",
]
