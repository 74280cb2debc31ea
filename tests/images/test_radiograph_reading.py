"""A picture file in any wrapping becomes the same grey radiograph."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.images import PreprocessingSpec, is_image_file, is_visible, read, resample

Encode = Callable[..., bytes]


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (20, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("BMP", {})],
)
def test_lossless_grey_is_read_as_it_was_written(
    encode: Encode, grey: np.ndarray, kind: str, options: dict[str, str]
) -> None:
    data = encode(grey, kind, **options)
    radiograph = read(data, name="it")
    np.testing.assert_array_equal(radiograph.pixels, grey)
    assert radiograph.pixels.dtype == np.uint8
    assert radiograph.bits == 8
    assert radiograph.original_size == (30, 20)
    assert radiograph.channel_spread == 0
    assert radiograph.photometric_interpretation == "MONOCHROME2"
    assert radiograph.sha256 == hashlib.sha256(data).hexdigest()
    assert radiograph.source == "it"


def test_a_path_bytes_and_a_stream_give_the_same(
    encode: Encode, grey: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"  # told apart by content, not by name
    path.write_bytes(encode(grey, "PNG"))
    with path.open("rb") as stream:
        readings = [
            read(path),
            read(str(path)),
            read(path.read_bytes()),
            read(io.BytesIO(path.read_bytes())),
            read(stream),
        ]
    for reading in readings:
        np.testing.assert_array_equal(reading.pixels, grey)
        assert reading.sha256 == readings[0].sha256
    sources = [reading.source for reading in readings]
    assert sources == [str(path), str(path), "image", "stream", str(path)]


# Scaled decoding ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "target", "decoded"),
    [
        ((2000, 1500), 224, (1000, 750)),
        ((3700, 3600), 224, (463, 450)),  # an eighth
        ((896, 896), 224, (448, 448)),  # exactly twice the target
        ((895, 2000), 224, (895, 2000)),  # half would be one pixel short
        ((2000, 1500), None, (2000, 1500)),
        ((300, 200), 224, (300, 200)),  # never enlarged
    ],
)
def test_large_jpegs_are_decoded_smaller_but_never_below_twice_the_target(
    encode: Encode, size: tuple[int, int], target: int | None, decoded: tuple[int, int]
) -> None:
    radiograph = read(encode(Image.new("L", size, 90), "JPEG"), target_size=target)
    assert radiograph.pixels.shape[::-1] == decoded
    assert radiograph.original_size == size


def test_scaled_decoding_changes_the_square_by_less_than_three_grey_levels(encode: Encode) -> None:
    y, x = np.mgrid[:1200, :1600]
    picture = (128 + 60 * np.sin(x / 40) * np.cos(y / 55) + 40 * np.sin(x / 9)).astype(np.uint8)
    data = encode(picture, "JPEG", quality=95)
    spec = PreprocessingSpec()
    scaled, full = (resample(read(data, target_size=size), spec) for size in (224, None))
    assert np.abs(scaled.astype(int) - full).max() < 3


def test_only_jpeg_is_scaled(encode: Encode) -> None:
    radiograph = read(encode(Image.new("L", (900, 800)), "PNG"), target_size=64)
    assert radiograph.pixels.shape == (800, 900)


def test_scaled_decoding_and_orientation_go_together(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    radiograph = read(encode(Image.new("L", (2000, 1500)), "JPEG", exif=exif), target_size=224)
    assert radiograph.original_size == (1500, 2000)
    assert radiograph.pixels.shape == (1000, 750)


# Orientation ----------------------------------------------------------------------------------

#: What brings the stored pixels upright, by EXIF orientation.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_picture_is_set_upright(
    encode: Encode, grey: np.ndarray, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    radiograph = read(encode(grey, kind, exif=exif))
    expected = UPRIGHT[orientation](grey)
    np.testing.assert_array_equal(radiograph.pixels, expected)
    assert radiograph.original_size == expected.shape[::-1]


# Colour ---------------------------------------------------------------------------------------


def test_colour_becomes_luma_and_its_spread_is_kept(
    encode: Encode, rng: np.random.Generator
) -> None:
    rgb = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    radiograph = read(encode(rgb, "PNG"))
    luma = rgb @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(radiograph.pixels - luma).max() <= 0.51
    np.testing.assert_array_equal(radiograph.pixels, np.array(Image.fromarray(rgb).convert("L")))
    spread = np.ptp(rgb.astype(int), axis=-1).mean()
    assert radiograph.channel_spread == pytest.approx(spread)
    assert radiograph.photometric_interpretation == "RGB"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_grey_stored_as_colour_is_the_same_grey(
    encode: Encode, grey: np.ndarray, mode: str
) -> None:
    image = Image.fromarray(grey).convert("RGB" if mode == "P" else mode)
    if mode == "P":
        image = Image.fromarray(grey).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    radiograph = read(encode(image, "PNG"))
    np.testing.assert_array_equal(radiograph.pixels, grey)
    assert radiograph.channel_spread == 0


def test_a_palette_is_looked_up(encode: Encode) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([255, 255, 255, 100, 100, 100, 0, 0, 0])
    assert read(encode(image, "PNG")).pixels.tolist() == [[255, 100, 0]]


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_is_read_as_light(encode: Encode, kind: str) -> None:
    ink = Image.new("CMYK", (16, 16), (0, 0, 0, 55))
    pixels = read(encode(ink, kind)).pixels
    assert np.abs(pixels.astype(int) - 200).max() <= 2


@pytest.mark.parametrize(
    ("mode", "colour", "level"),
    [
        ("LA", (200, 255), 200),
        ("LA", (200, 0), 0),
        ("LA", (200, 128), 100),
        ("RGBA", (200, 200, 200, 128), 100),
        ("RGBA", (255, 255, 255, 0), 0),
    ],
)
def test_transparency_lies_over_black(
    encode: Encode, mode: str, colour: tuple[int, ...], level: int
) -> None:
    pixels = read(encode(Image.new(mode, (4, 4), colour), "PNG")).pixels
    assert np.abs(pixels.astype(int) - level).max() <= 1


def test_one_bit_becomes_black_and_white(encode: Encode) -> None:
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    for kind in ("PNG", "TIFF"):
        radiograph = read(encode(image, kind))
        assert radiograph.pixels.tolist() == [[0, 255], [255, 0]]
        assert radiograph.bits == 8


# Depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("brightest", "bits"),
    [
        (0, 8),
        (255, 8),
        (256, 10),
        (1023, 10),
        (1024, 12),
        (4095, 12),
        (4096, 14),
        (16_383, 14),
        (16_384, 16),
        (65_535, 16),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_hold_the_smallest_usual_depth_that_fits(
    encode: Encode, kind: str, brightest: int, bits: int
) -> None:
    pixels = np.array([[0, brightest // 2, brightest]], np.uint16)
    radiograph = read(encode(pixels, kind))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert (radiograph.bits, radiograph.pixels.dtype) == (bits, np.uint16)


def test_a_weaker_exposure_of_one_detector_keeps_its_scale(encode: Encode) -> None:
    strong = read(encode(np.array([[100, 4000]], np.uint16), "PNG"))
    weak = read(encode(np.array([[100, 1100]], np.uint16), "PNG"))
    assert strong.bits == weak.bits == 12


def _tiff(pixels: np.ndarray, tags: dict[int, int], data: bytes | None = None) -> bytes:
    """Return a TIFF of one strip, whose header says what `tags` say."""
    data = pixels.astype("<u2").tobytes() if data is None else data
    height, width = pixels.shape
    entries = {
        256: width,
        257: height,
        258: 16,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: len(data),
    } | tags
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, entries[tag]) for tag in sorted(entries))
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def test_tiff_states_a_depth_of_twelve_bits() -> None:
    # Two pixels in three bytes: 0x012, 0x345.
    radiograph = read(_tiff(np.zeros((1, 2), np.uint16), {258: 12}, b"\x01\x23\x45"))
    assert radiograph.pixels.tolist() == [[0x012, 0x345]]
    assert radiograph.bits == 12


def test_white_is_zero_tiff_is_turned_over_at_any_depth(encode: Encode) -> None:
    stored = np.array([[0, 4095, 1000]], np.uint16)
    deep = read(_tiff(stored, {262: 0}))
    assert deep.bits == 12
    assert deep.pixels.tolist() == [[4095, 0, 3095]]
    assert deep.photometric_interpretation == "MONOCHROME1"
    shallow = read(_tiff(np.zeros((1, 3), np.uint16), {258: 8, 262: 0}, b"\x00\xff\x64"))
    assert shallow.pixels.tolist() == [[255, 0, 155]]
    assert shallow.photometric_interpretation == "MONOCHROME1"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.jpeg", True),
        ("A.JPG", True),
        ("x/y/scan.DCM", True),
        ("./a.png", True),
        ("../a.tiff", True),
        ("._a.jpeg", False),
        (".hidden/a.jpeg", False),
        ("__MACOSX/a.jpeg", False),
        (".DS_Store", False),
        ("a.txt", False),
        ("jpeg", False),
    ],
)
def test_names_taken_for_images(tmp_path: Path, name: str, taken: bool) -> None:
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert (is_visible(name) and is_image_file(path)) is taken


@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113619.2", "scan.bin"])
def test_dicom_files_are_known_by_their_mark(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(20))
    assert is_image_file(tmp_path / name)
    (tmp_path / name).write_bytes(bytes(200))
    assert not is_image_file(tmp_path / name)
