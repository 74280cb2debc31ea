"""From a radiograph to the network's input: geometry, interpolation and normalisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pneumoscope.images import (
    Geometry,
    Normalisation,
    PreprocessingSpec,
    Radiograph,
    Resampler,
    from_array,
    normalise,
    preprocess,
    resample,
    spread_over_image,
)

#: Interpolation rounds to whole grey levels twice, once an axis.
ROUNDING = 1


def _radiograph(pixels: np.ndarray, bits: int | None = None) -> Radiograph:
    return from_array(pixels, "MONOCHROME2", bits=bits)


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


# Shape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", Geometry)
@pytest.mark.parametrize("resampler", Resampler)
@pytest.mark.parametrize("shape", [(90, 50), (50, 90), (20, 10), (64, 64), (1, 300), (300, 1)])
def test_any_rectangle_becomes_a_square(
    rng: np.random.Generator, geometry: Geometry, resampler: Resampler, shape: tuple[int, int]
) -> None:
    spec = PreprocessingSpec(size=64, geometry=geometry, resampler=resampler)
    square = resample(_radiograph(_noise(rng, *shape)), spec)
    assert (square.shape, square.dtype) == ((64, 64), np.uint8)
    tensor = preprocess(_radiograph(_noise(rng, *shape)), spec)
    assert (tensor.shape, tensor.dtype) == ((3, 64, 64), np.float32)
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize("geometry", [Geometry.STRETCH, Geometry.CENTER_CROP])
@pytest.mark.parametrize("resampler", Resampler)
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_constant_image_stays_constant(
    geometry: Geometry, resampler: Resampler, level: int
) -> None:
    spec = PreprocessingSpec(size=50, geometry=geometry, resampler=resampler)
    for shape in [(99, 61), (17, 23)]:
        assert np.all(resample(_radiograph(np.full(shape, level, np.uint8)), spec) == level)


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((100, 200), (16, 48), (0, 64)),
        ((200, 100), (0, 64), (16, 48)),
        ((32, 64), (16, 48), (0, 64)),
        ((70, 70), (0, 64), (0, 64)),
        ((1, 500), (31, 32), (0, 64)),
    ],
)
@pytest.mark.parametrize("resampler", Resampler)
def test_letterbox_centres_the_whole_image_between_black_bars(
    resampler: Resampler, shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    spec = PreprocessingSpec(size=64, geometry=Geometry.LETTERBOX, resampler=resampler)
    expected = np.zeros((64, 64), np.uint8)
    expected[slice(*rows), slice(*columns)] = 200
    square = resample(_radiograph(np.full(shape, 200, np.uint8)), spec)
    np.testing.assert_array_equal(square, expected)


@pytest.mark.parametrize("resampler", Resampler)
def test_centre_crop_is_the_stretched_middle(
    rng: np.random.Generator, resampler: Resampler
) -> None:
    pixels = _noise(rng, 80, 140)
    cropped = resample(
        _radiograph(pixels),
        PreprocessingSpec(size=40, geometry=Geometry.CENTER_CROP, resampler=resampler),
    )
    stretched = resample(
        _radiograph(np.ascontiguousarray(pixels[:, 30:110])),
        PreprocessingSpec(size=40, resampler=resampler),
    )
    inner = np.s_[2:-2, 6:-6]  # at the cut, crop sees the pixels beyond
    assert np.abs(cropped[inner].astype(int) - stretched[inner]).max() <= ROUNDING


@pytest.mark.parametrize("geometry", Geometry)
@pytest.mark.parametrize("resampler", Resampler)
def test_a_square_of_the_right_size_is_not_touched(
    rng: np.random.Generator, geometry: Geometry, resampler: Resampler
) -> None:
    pixels = _noise(rng, 48, 48)
    spec = PreprocessingSpec(size=48, geometry=geometry, resampler=resampler)
    np.testing.assert_array_equal(resample(_radiograph(pixels), spec), pixels)


# Interpolation against other code --------------------------------------------------------------


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.clip(1 - np.abs(x), 0, None)


def _bicubic(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), -0.5
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(float)


def _weigh(kernel: Callable[[np.ndarray], np.ndarray], before: int, after: int) -> np.ndarray:
    """Return the matrix [after, before] of an axis: the kernel widened when shrinking."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale
    distance = (np.arange(before)[None] + 0.5 - centres[:, None]) / max(scale, 1)
    weights = kernel(distance)
    return weights / weights.sum(1, keepdims=True)


def _round(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(levels + 0.5), 0, 255)


@pytest.mark.parametrize(
    ("resampler", "kernel"),
    [
        (Resampler.BILINEAR, _bilinear),
        (Resampler.BICUBIC, _bicubic),
        (Resampler.LANCZOS, _lanczos),
        (Resampler.AREA, _box),
    ],
)
@pytest.mark.parametrize("shape", [(111, 97), (300, 40), (20, 33), (128, 256)])
def test_resampling_is_the_kernels_formula(
    rng: np.random.Generator,
    resampler: Resampler,
    kernel: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, int],
) -> None:
    pixels = _noise(rng, *shape)
    down, across = (_weigh(kernel, side, 64) for side in shape)
    # Pillow takes one axis after the other, whichever first is less work, and keeps whole levels
    # within 0..255 in between.
    orders = (
        _round(down @ _round(pixels @ across.T)),
        _round(_round(down @ pixels) @ across.T),
    )
    square = resample(_radiograph(pixels), PreprocessingSpec(size=64, resampler=resampler))
    assert min(np.abs(square - expected).max() for expected in orders) <= ROUNDING


@pytest.mark.parametrize("shape", [(111, 97), (500, 641), (64, 200), (20, 33)])
def test_bilinear_is_torchs_antialiased_bilinear(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    pixels = _noise(rng, *shape)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None, None].float(), (64, 64), mode="bilinear", antialias=True
    )[0, 0].numpy()
    square = resample(_radiograph(pixels), PreprocessingSpec(size=64))
    assert np.abs(square - expected).max() <= ROUNDING


@pytest.mark.parametrize("shape", [(111, 97), (500, 641), (20, 33), (224, 224)])
def test_nearest_takes_the_pixel_that_keras_takes(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    pixels = _noise(rng, *shape)
    rows, columns = (np.floor((np.arange(224) + 0.5) * side / 224).astype(int) for side in shape)
    square = resample(_radiograph(pixels), PreprocessingSpec(resampler=Resampler.NEAREST))
    np.testing.assert_array_equal(square, pixels[np.ix_(rows, columns)])


def test_area_averages_blocks(rng: np.random.Generator) -> None:
    pixels = _noise(rng, 96, 160)
    square = resample(_radiograph(pixels), PreprocessingSpec(size=32, resampler=Resampler.AREA))
    means = pixels.reshape(32, 3, 32, 5).mean((1, 3))
    assert np.abs(square - means).max() <= ROUNDING


# Depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(9, 17))
def test_deeper_pixels_are_rounded_to_eight_bits(bits: int) -> None:
    top = (1 << bits) - 1
    levels = np.linspace(0, top, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    square = resample(_radiograph(levels, bits), PreprocessingSpec(size=32))
    assert np.abs(square - levels * (255 / top)).max() <= 0.5 + 1e-6
    assert (square[0, 0], square[-1, -1]) == (0, 255)


def test_eight_bits_widened_to_sixteen_give_the_same_square(rng: np.random.Generator) -> None:
    pixels = _noise(rng, 70, 90)
    wide = pixels.astype(np.uint16) * np.uint16(257)
    spec = PreprocessingSpec(size=32)
    np.testing.assert_array_equal(
        resample(_radiograph(pixels), spec), resample(_radiograph(wide), spec)
    )


# Normalisation --------------------------------------------------------------------------------

ALL_LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(
    ("normalisation", "formula"),
    [
        # torchvision: Normalize(mean, std) after ToTensor
        (
            Normalisation.IMAGENET,
            lambda v: [
                (v / 255 - 0.485) / 0.229,
                (v / 255 - 0.456) / 0.224,
                (v / 255 - 0.406) / 0.225,
            ],
        ),
        # keras.applications.resnet50.preprocess_input: BGR, means subtracted, not scaled
        (Normalisation.CAFFE, lambda v: [v - 103.939, v - 116.779, v - 123.68]),
        (Normalisation.UNIT, lambda v: [v / 255, v / 255, v / 255]),
        (Normalisation.SIGNED, lambda v: [v / 127.5 - 1, v / 127.5 - 1, v / 127.5 - 1]),
    ],
)
def test_normalisation_is_its_formula_on_replicated_grey(
    normalisation: Normalisation, formula: Callable[[np.ndarray], list[np.ndarray]]
) -> None:
    spec = PreprocessingSpec(normalisation=normalisation)
    expected = np.stack(formula(ALL_LEVELS.astype(np.float64)))
    np.testing.assert_allclose(normalise(ALL_LEVELS, spec), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("normalisation", "low", "high"),
    [
        (Normalisation.IMAGENET, -2.118, 2.64),
        (Normalisation.CAFFE, -123.68, 151.061),
        (Normalisation.UNIT, 0, 1),
        (Normalisation.SIGNED, -1, 1),
    ],
)
def test_normalised_values_span_a_known_range(
    normalisation: Normalisation, low: float, high: float
) -> None:
    tensor = normalise(ALL_LEVELS, PreprocessingSpec(normalisation=normalisation))
    assert float(tensor.min()) == pytest.approx(low, abs=1e-3)
    assert float(tensor.max()) == pytest.approx(high, abs=1e-3)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_batches_are_normalised_like_their_images(
    rng: np.random.Generator, lead: tuple[int, ...]
) -> None:
    spec = PreprocessingSpec()
    batch = rng.integers(0, 256, (*lead, 8, 9), dtype=np.uint8)
    out = normalise(batch, spec)
    assert out.shape == (*lead, 3, 8, 9)
    for index in np.ndindex(lead):
        np.testing.assert_array_equal(out[index], normalise(batch[index], spec))


# Whatever the image ----------------------------------------------------------------------------


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    low = draw(st.integers(0, 255))
    high = draw(st.integers(low, 255))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(low, high + 1, (height, width), dtype=np.uint8)


LEISURELY = settings(max_examples=60, deadline=None, derandomize=True)


@LEISURELY
@given(
    pixels=pictures(),
    size=st.integers(32, 80),
    resampler=st.sampled_from([Resampler.BILINEAR, Resampler.AREA, Resampler.NEAREST]),
)
def test_averaging_never_leaves_the_images_own_range(
    pixels: np.ndarray, size: int, resampler: Resampler
) -> None:
    square = resample(_radiograph(pixels), PreprocessingSpec(size=size, resampler=resampler))
    assert pixels.min() <= square.min()
    assert square.max() <= pixels.max()


@LEISURELY
@given(
    pixels=pictures(),
    resampler=st.sampled_from(Resampler),
    geometry=st.sampled_from([Geometry.STRETCH, Geometry.CENTER_CROP]),
)
def test_inverting_before_is_inverting_after(
    pixels: np.ndarray, resampler: Resampler, geometry: Geometry
) -> None:
    spec = PreprocessingSpec(size=40, resampler=resampler, geometry=geometry)
    plain, inverted = (resample(_radiograph(p), spec).astype(int) for p in (pixels, 255 - pixels))
    # Whole levels in between: a half that is rounded the other way is weighted once more.
    assert np.abs(255 - plain - inverted).max() <= 2 * ROUNDING


@LEISURELY
@given(pixels=pictures(), geometry=st.sampled_from(Geometry))
def test_mirroring_before_is_mirroring_after(pixels: np.ndarray, geometry: Geometry) -> None:
    # An odd bar of the letterbox falls on one side: compare where both bars are equal.
    height, width = pixels.shape
    inner = round(min(height, width) * 40 / max(height, width)) or 1
    if geometry is Geometry.LETTERBOX and inner % 2:
        return
    spec = PreprocessingSpec(size=40, geometry=geometry)
    plain = resample(_radiograph(pixels), spec).astype(int)
    mirrored = resample(_radiograph(np.ascontiguousarray(pixels[:, ::-1])), spec)
    assert np.abs(plain[:, ::-1] - mirrored).max() <= 2 * ROUNDING


@LEISURELY
@given(
    pixels=pictures(),
    spec=st.builds(
        PreprocessingSpec,
        size=st.integers(32, 64),
        resampler=st.sampled_from(Resampler),
        geometry=st.sampled_from(Geometry),
        normalisation=st.sampled_from(Normalisation),
    ),
)
def test_the_input_is_finite_repeatable_and_grey(
    pixels: np.ndarray, spec: PreprocessingSpec
) -> None:
    tensor = preprocess(_radiograph(pixels), spec)
    assert np.isfinite(tensor).all()
    np.testing.assert_array_equal(tensor, preprocess(_radiograph(pixels), spec))
    # One grey level a pixel: each channel can be told from the first.
    table = normalise(np.arange(256, dtype=np.uint8)[None], spec)[:, 0]
    level = np.abs(table[0] - tensor[0][..., None]).argmin(-1)
    np.testing.assert_array_equal(table[:, level], tensor)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 31},
        {"size": 1025},
        {"size": "large"},
        {"resampler": "magic"},
        {"geometry": "fold"},
        {"normalisation": "none"},
        {"novelty": 1},
    ],
)
def test_a_spec_outside_the_known_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PreprocessingSpec.model_validate(fields)


def test_a_spec_cannot_change_and_survives_json() -> None:
    spec = PreprocessingSpec(size=96, resampler=Resampler.AREA, normalisation=Normalisation.CAFFE)
    with pytest.raises(ValidationError, match="frozen"):
        spec.size = 64  # type: ignore[misc]
    assert PreprocessingSpec.model_validate_json(spec.model_dump_json()) == spec


# -- the way back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", list(Geometry))
@pytest.mark.parametrize("shape", [(224, 224), (300, 600), (640, 410)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.4, 0.6), (0.65, 0.35)])
def test_what_the_network_sees_is_found_again_on_the_image(geometry, shape, place):
    height, width = shape
    row, column = int(place[0] * height), int(place[1] * width)
    y, x = np.mgrid[0:height, 0:width]
    reach = 0.06 * min(shape)
    blob = 250 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * reach**2))
    square = resample(
        from_array(blob.astype(np.uint8), "MONOCHROME2"),
        PreprocessingSpec(size=224, geometry=geometry),
    )
    cells = square.reshape(28, 8, 28, 8).mean((1, 3)).astype(np.float32)
    back = spread_over_image(cells, width, height, geometry)
    assert back.shape == shape
    found = np.unravel_index(int(back.argmax()), shape)
    assert np.hypot(found[0] - row, found[1] - column) <= 0.05 * max(shape)


def test_what_a_crop_cut_off_has_no_influence():
    back = spread_over_image(np.ones((7, 7), np.float32), 300, 100, Geometry.CENTER_CROP)
    assert back[:, 100:200].min() == 1
    assert not back[:, :100].any()
    assert not back[:, 200:].any()
