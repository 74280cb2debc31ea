"""Images: bytes become a checked radiograph, a radiograph becomes the network's input."""

from pneumoscope.images.grey_values import GreyValues
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
    NO_HEADER,
    Header,
    Radiograph,
    from_array,
    is_dicom,
    is_image_file,
    is_visible,
    reduce_to_square,
)
from pneumoscope.images.reading import read, read_grey_values, read_header

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "NO_HEADER",
    "Geometry",
    "GreyValues",
    "Header",
    "Normalisation",
    "PreprocessingSpec",
    "Radiograph",
    "RectangularSpec",
    "Resampler",
    "from_array",
    "is_dicom",
    "is_image_file",
    "is_visible",
    "normalise",
    "preprocess",
    "read",
    "read_grey_values",
    "read_header",
    "reduce_to_square",
    "resample",
    "spread_over_image",
]
