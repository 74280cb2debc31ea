"""What is no good image is refused with one sentence that says why, and never crashes."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from pneumoscope.errors import ImageError
from pneumoscope.images import Radiograph, read

Encode = Callable[..., bytes]
MakeDicom = Callable[..., bytes]
Compress = Callable[[bytes, uid.UID], bytes]


def _refuse(source: object, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        read(source)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert not message.endswith("..")


def _png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        check = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "image is empty"),
        (b"hello", "not an image: JPEG, PNG, TIFF, BMP, WebP and DICOM are read"),
        (b"\0" * 5000, "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%PDF-1.7", "not an image"),
        (b"PK\x03\x04" + bytes(200), "not an image"),
        (b"\xff\xd8\xff", "not an image|damaged"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
        (_png_header(100, 100), "damaged or truncated"),
        (_png_header(10_001, 10_000), "has 10001×10000 pixels, more than 100 million"),
        (_png_header(2**30, 2**30), "claims more than 100 megapixels"),
        (_png_header(0, 10), "not an image|damaged"),
        (bytes(128) + b"DICM", "DICOM"),
        (bytes(128) + b"DICM" + b"\xff" * 500, "DICOM"),
    ],
)
def test_bytes_that_are_no_image_are_refused(data: bytes, sentence: str) -> None:
    _refuse(data, sentence)


def test_a_gif_is_not_read(encode: Encode) -> None:
    _refuse(encode(Image.new("L", (8, 8)), "GIF"), "not an image")


def test_sizes_up_to_the_limit_are_read_though_pillow_warns(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow warns from 89 megapixels, the limit is 100."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(encode(Image.new("L", (11, 11)), "PNG")).original_size == (11, 11)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(
    encode: Encode, rng: np.random.Generator, kind: str, share: float
) -> None:
    data = encode(rng.integers(0, 256, (60, 60), dtype=np.uint8), kind)
    _refuse(data[: int(len(data) * share)], "image is (damaged or truncated|not an image)")


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_files_of_several_images_are_refused(encode: Encode, kind: str) -> None:
    more = [Image.new("L", (8, 8), level) for level in (100, 200)]
    data = encode(Image.new("L", (8, 8)), kind, save_all=True, append_images=more)
    _refuse(data, "holds 3 images, one is needed")


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((4, 4), np.float32), "floating-point pixels, whose range is not known"),
        (np.full((4, 4), -1, np.int32), "has pixels from -1 to -1, 0 to 65535 are read"),
        (np.full((4, 4), 70_000, np.int32), "has pixels from 70000 to 70000"),
    ],
)
def test_pixels_of_unknown_range_are_refused(
    encode: Encode, pixels: np.ndarray, sentence: str
) -> None:
    _refuse(encode(pixels, "TIFF"), sentence)


def test_paths_without_an_image_are_refused(tmp_path: Path) -> None:
    _refuse(tmp_path / "nowhere.png", r"nowhere\.png does not exist")
    _refuse(tmp_path, "is a folder, an image file is needed")
    _refuse(f"{tmp_path}/\0", "cannot be read|does not exist")
    _refuse("a" * 5000, "cannot be read")
    (tmp_path / "empty.jpeg").touch()
    _refuse(tmp_path / "empty.jpeg", r"empty\.jpeg is empty")
    (tmp_path / "loop.png").symlink_to("loop.png")
    _refuse(tmp_path / "loop.png", "cannot be read|does not exist")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    _refuse(tmp_path / "pipe.png", "no regular file")


def test_files_and_streams_too_large_for_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumoscope.images.reading.MAX_BYTES", 2**20)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(2**20 + 1))
    _refuse(path, "has more than 1 MiB, the most allowed")
    _refuse(path.read_bytes(), "image has more than 1 MiB")
    _refuse(io.BytesIO(path.read_bytes()), "stream has more than 1 MiB")


def test_streams_that_fail_are_refused() -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    _refuse(closed, "stream cannot be read")
    _refuse(io.StringIO("text"), "stream yields str, a binary stream is needed")


# DICOM ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "without", "sentence"),
    [
        ({}, ("PixelData",), r"without an image \(Computed Radiography Image Storage\)"),
        ({}, ("Rows",), "without an image"),
        ({}, ("PhotometricInterpretation",), "without an image"),
        ({"Rows": None}, (), "without an image"),
        ({"NumberOfFrames": 2}, (), "holds 2 frames, one radiograph is needed"),
        ({"Rows": 65_535, "Columns": 65_535}, (), "claims 65535×65535 pixels, 1 to 100000000"),
        ({"Rows": 0}, (), "claims 64×0 pixels"),
        ({"Rows": 24}, (), "holds more frames than its header says, one is needed"),
        ({"Rows": 5000, "Columns": 5000}, (), "cannot be decoded"),
        ({"BitsAllocated": 32}, (), "has 32 bits a pixel, 8 or 16 are read"),
        ({"BitsAllocated": 1}, (), "has 1 bits a pixel"),
        ({"BitsStored": 20}, (), "cannot be decoded"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, (), "is PALETTE COLOR: MONOCHROME1"),
        ({"PhotometricInterpretation": "YBR_FULL"}, (), "is YBR_FULL"),
        ({"SamplesPerPixel": 2}, (), "has 2 samples a pixel"),
    ],
)
def test_dicom_files_without_one_radiograph_are_refused(
    make_dicom: MakeDicom,
    chest: np.ndarray,
    attributes: dict[str, object],
    without: tuple[str, ...],
    sentence: str,
) -> None:
    _refuse(make_dicom(chest, without=without, **attributes), sentence)


def test_deep_colour_is_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(np.zeros((4, 4, 3), np.uint16))
    _refuse(data, "colour at more than 8 bits, which is not read")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.99])
def test_truncated_dicom_is_refused(make_dicom: MakeDicom, chest: np.ndarray, share: float) -> None:
    data = make_dicom(chest)
    _refuse(data[: int(len(data) * share)], "image is a DICOM file|image is not an image")


def test_a_deflated_file_that_unfolds_too_far_is_refused(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dicom(np.zeros((1500, 1500), np.uint8), syntax=uid.DeflatedExplicitVRLittleEndian)
    assert len(data) < 10_000
    assert read(data).original_size == (1500, 1500)
    monkeypatch.setattr("pneumoscope.images.dicom.MAX_BYTES", 2**20)
    _refuse(data, "unfolds into more than 1 MiB, the most allowed")


def test_a_small_header_around_a_huge_frame_is_refused(make_dicom: MakeDicom) -> None:
    frame = bytearray(_encode_jpeg(np.zeros((16, 16), np.uint8)))
    place = frame.index(b"\xff\xc0") + 5
    frame[place : place + 4] = struct.pack(">HH", 65_000, 65_000)
    data = make_dicom(bytes(frame), shape=(16, 16), syntax=uid.JPEGBaseline8Bit)
    _refuse(data, "cannot be decoded")


# Whatever the damage ---------------------------------------------------------------------------


def _encode_jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def whole_pictures(encode: Encode, chest: np.ndarray) -> list[bytes]:
    grey = Image.fromarray((chest >> 4).astype(np.uint8))
    colour, exif = grey.convert("RGB"), Image.Exif()
    exif[0x0112] = 6
    return [
        encode(grey, "JPEG", exif=exif),
        encode(colour, "JPEG", progressive=True),
        encode(grey.convert("CMYK"), "JPEG"),
        encode(grey, "PNG", exif=exif),
        encode(chest, "PNG"),
        encode(grey.convert("P"), "PNG"),
        encode(grey.convert("RGBA"), "PNG"),
        encode(chest, "TIFF"),
        encode(grey, "TIFF", compression="tiff_lzw", exif=exif),
        encode(colour, "TIFF", compression="tiff_adobe_deflate"),
        encode(grey.convert("1"), "TIFF", compression="group4"),
        encode(grey, "BMP"),
        encode(colour, "WEBP"),
    ]


@pytest.fixture(scope="module")
def whole_dicoms(
    make_dicom: MakeDicom, encode: Encode, compress: Compress, chest: np.ndarray
) -> list[bytes]:
    eight = (chest >> 4).astype(np.uint8)
    plain = make_dicom(chest, BitsStored=12, WindowCenter=2048, WindowWidth=3000)
    return [
        plain,
        make_dicom(chest, BitsStored=12, syntax=uid.ImplicitVRLittleEndian),
        make_dicom(chest, BitsStored=12, syntax=uid.DeflatedExplicitVRLittleEndian),
        make_dicom(_encode_jpeg(eight), shape=chest.shape, syntax=uid.JPEGBaseline8Bit),
        make_dicom(
            encode(eight, "JPEG2000", no_jp2=True),
            shape=chest.shape,
            syntax=uid.JPEG2000Lossless,
        ),
        *(compress(plain, syntax) for syntax in (uid.RLELossless, uid.JPEGLosslessSV1)),
    ]


def _damage(draw: st.DrawFn, whole: bytes) -> bytes:
    """Cut a file, or overwrite a few bytes of it: half of them near the start or near the end."""
    data = bytearray(whole)
    if draw(st.integers(0, 3)) == 0:
        return bytes(data[: draw(st.integers(0, len(data)))])
    edge = min(len(data), 900)
    places = st.integers(0, len(data) - 1) | st.integers(0, edge - 1) | st.integers(-edge, -1)
    for place in draw(st.lists(places, min_size=1, max_size=6)):
        data[place] = draw(st.integers(0, 255))
    return bytes(data)


def _assert_read_or_refused(data: bytes) -> None:
    outcome: Radiograph | str
    try:
        outcome = read(data, target_size=32)
    except ImageError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert "\n" not in outcome
        assert outcome.endswith(".")
    else:
        assert outcome.pixels.ndim == 2
        assert int(outcome.pixels.max()) < 1 << outcome.bits


PATIENT = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PATIENT
@given(data=st.data())
@pytest.mark.parametrize("number", range(13))
def test_a_damaged_picture_is_read_or_refused(
    whole_pictures: list[bytes], number: int, data: st.DataObject
) -> None:
    _assert_read_or_refused(data.draw(st.composite(_damage)(whole_pictures[number])))


@PATIENT
@given(data=st.data())
@pytest.mark.parametrize("number", range(7))
def test_a_damaged_dicom_file_is_read_or_refused(
    whole_dicoms: list[bytes], number: int, data: st.DataObject
) -> None:
    _assert_read_or_refused(data.draw(st.composite(_damage)(whole_dicoms[number])))


@PATIENT
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", bytes(128) + b"DICM"]))
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    _assert_read_or_refused(start + data)
