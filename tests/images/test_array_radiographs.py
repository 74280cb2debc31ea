"""Arrays say what their pixels mean, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pneumoscope.errors import ImageError
from pneumoscope.images import from_array, read


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, None), (np.uint16, None), (np.uint16, 12)])
def test_inverted_twins_are_the_same_radiograph(
    rng: np.random.Generator, dtype: type, bits: int | None
) -> None:
    top = (1 << (bits or np.dtype(dtype).itemsize * 8)) - 1
    pixels = rng.integers(0, top + 1, (6, 5)).astype(dtype)
    dense = from_array(pixels, "MONOCHROME2", bits=bits)
    airy = from_array((top - pixels).astype(dtype), "MONOCHROME1", bits=bits)
    np.testing.assert_array_equal(dense.pixels, pixels)
    np.testing.assert_array_equal(airy.pixels, pixels)
    assert dense.bits == airy.bits == top.bit_length()
    assert dense.original_size == (5, 6)
    assert airy.photometric_interpretation == "MONOCHROME1"


def test_rgb_arrays_become_luma() -> None:
    array = np.zeros((2, 2, 3), np.uint8)
    array[..., 1] = 100
    radiograph = from_array(array, "RGB")
    assert np.all(radiograph.pixels == 59)
    assert radiograph.channel_spread == 100


def test_an_array_has_an_identity_of_content_shape_and_type(rng: np.random.Generator) -> None:
    array = rng.integers(0, 256, (4, 6), dtype=np.uint8)

    def identity(pixels: np.ndarray) -> str:
        return from_array(pixels, "MONOCHROME2").sha256

    assert identity(array) == identity(np.asfortranarray(array))
    others = {
        identity(other) for other in (array, array.reshape(6, 4), array.astype(np.uint16), array.T)
    }
    assert len(others) == 4


@pytest.mark.parametrize(
    ("array", "interpretation", "bits", "sentence"),
    [
        (np.zeros((4, 4), np.float32), "MONOCHROME2", None, "uint8 or uint16 array, found float32"),
        (np.zeros((4, 4), np.int16), "MONOCHROME2", None, "found int16"),
        (np.zeros((4, 4), bool), "MONOCHROME2", None, "found bool"),
        (np.zeros((4, 4), ">u2"), "MONOCHROME2", None, "found >u2"),
        ([[1, 2]], "MONOCHROME2", None, "found list"),
        (np.zeros((4, 4), np.uint8), None, None, "interpretation must be .*, found None"),
        (np.zeros((4, 4), np.uint8), "", None, "interpretation must be"),
        (np.zeros((4, 4), np.uint8), "monochrome2", None, "interpretation must be"),
        (np.zeros((4, 4), np.uint8), ["RGB"], None, "interpretation must be"),
        (np.zeros((4, 4), np.uint8), "YBR_FULL", None, "interpretation must be"),
        (np.zeros((4, 4), np.uint8), "RGB", None, r"takes shape \[H, W, 3\], found \[4, 4\]"),
        (np.zeros((4, 4, 3), np.uint8), "MONOCHROME2", None, r"takes shape \[H, W\]"),
        (np.zeros((4, 4, 4), np.uint8), "RGB", None, r"takes shape \[H, W, 3\]"),
        (np.zeros((0, 4), np.uint8), "MONOCHROME2", None, "found .0, 4"),
        (np.zeros((4, 4, 3), np.uint16), "RGB", None, "RGB takes uint8"),
        (np.full((4, 4), 4096, np.uint16), "MONOCHROME2", 12, "up to 4096 do not fit 12 bits"),
        (np.zeros((4, 4), np.uint8), "MONOCHROME2", 12, "do not fit 12 bits"),
        (np.zeros((4, 4), np.uint16), "MONOCHROME2", 4, "do not fit 4 bits"),
    ],
)
def test_arrays_that_do_not_say_what_they_are_are_refused(
    array: Any, interpretation: Any, bits: int | None, sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        from_array(array, interpretation, bits=bits, name="scan")
    assert str(caught.value).startswith("scan: ")


def test_the_interpretation_has_no_default() -> None:
    with pytest.raises(TypeError, match="photometric_interpretation"):
        from_array(np.zeros((4, 4), np.uint8))  # type: ignore[call-arg]


@pytest.mark.parametrize("source", [np.zeros((4, 4), np.uint8), 3, None, bytearray(b"x")])
def test_reading_takes_files_not_arrays(source: Any) -> None:
    with pytest.raises(ImageError, match="array with its photometric interpretation"):
        read(source)
