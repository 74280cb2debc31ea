"""Every transfer syntax gives the pixels that went in; DCMTK encodes, and decodes for comparison.

DCMTK renders with the file's window at 16 bits. Its arithmetic rounds where ours does, up to one
level of 65535; 8-bit files are compared at their own 8 bits.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid

from pneumoscope.errors import ImageError
from pneumoscope.images import Radiograph, codec, read

MakeDicom = Callable[..., bytes]
Encode = Callable[..., bytes]
Compress = Callable[[bytes, uid.UID], bytes]

TWELVE = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 3000}


def _syntax(data: bytes) -> str:
    return pydicom.dcmread(BytesIO(data)).file_meta.TransferSyntaxUID


def _assert_same_picture(radiograph: Radiograph, rendered: np.ndarray) -> None:
    if radiograph.bits == 8:
        assert np.abs(radiograph.pixels.astype(float) - rendered / 257).max() <= 0.51
    else:
        assert np.abs(radiograph.pixels.astype(int) - rendered).max() <= 1


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
    ids=lambda syntax: syntax.keyword,
)
@pytest.mark.parametrize("depth", [8, 12])
def test_uncompressed_files_agree_with_dcmtk(
    dcmtk: Any, make_dicom: MakeDicom, chest: np.ndarray, syntax: uid.UID, depth: int
) -> None:
    if depth == 8:
        pixels = (chest >> 4).astype(np.uint8)
        data = make_dicom(pixels, syntax=syntax, WindowCenter=128, WindowWidth=200)
    else:
        data = make_dicom(chest, syntax=syntax, **TWELVE)
    assert _syntax(data) == syntax
    radiograph = read(data)
    assert radiograph.bits == (8 if depth == 8 else 16)
    _assert_same_picture(radiograph, dcmtk.render(data, "+Wi", "1"))


@pytest.mark.parametrize(
    ("encoder", "option", "decoder", "syntax", "depth"),
    [
        ("dcmcjpeg", "+eb", None, uid.JPEGBaseline8Bit, 8),
        ("dcmcjpeg", "+ee", None, uid.JPEGExtended12Bit, 12),
        ("dcmcjpeg", "+ee", None, uid.JPEGExtended12Bit, 8),
        ("dcmcjpeg", "+el", None, uid.JPEGLossless, 12),
        ("dcmcjpeg", "+el", None, uid.JPEGLossless, 8),
        ("dcmcjpeg", "+e1", None, uid.JPEGLosslessSV1, 12),
        ("dcmcjpeg", "+e1", None, uid.JPEGLosslessSV1, 16),
        ("dcmcjpls", "+el", "dcmdjpls", uid.JPEGLSLossless, 12),
        ("dcmcjpls", "+el", "dcmdjpls", uid.JPEGLSLossless, 8),
        ("dcmcjpls", "+el", "dcmdjpls", uid.JPEGLSLossless, 16),
        ("dcmcjpls", "+en", "dcmdjpls", uid.JPEGLSNearLossless, 12),
        ("dcmcrle", None, None, uid.RLELossless, 12),
        ("dcmcrle", None, None, uid.RLELossless, 8),
    ],
)
def test_files_that_dcmtk_compresses_agree_with_dcmtk(
    dcmtk: Any,
    make_dicom: MakeDicom,
    chest: np.ndarray,
    encoder: str,
    option: str | None,
    decoder: str | None,
    syntax: uid.UID,
    depth: int,
) -> None:
    pixels = {8: (chest >> 4).astype(np.uint8), 12: chest, 16: chest * np.uint16(16)}[depth]
    full = 1 << depth
    plain = make_dicom(pixels, BitsStored=depth, WindowCenter=full // 2, WindowWidth=full * 3 // 4)
    data = dcmtk.convert(encoder, plain, *([option] if option else []))
    assert _syntax(data) == syntax
    radiograph = read(data)
    shown = dcmtk.convert(decoder, data) if decoder else data
    rendered = dcmtk.render(shown, "+Wi", "1")
    if syntax == uid.JPEGBaseline8Bit:
        # Two implementations of the inverse transform: one level before the window stretches it.
        assert np.abs(radiograph.pixels.astype(float) - rendered / 257).max() <= 2
    else:
        _assert_same_picture(radiograph, rendered)
    if "ossless" in syntax.keyword and "Near" not in syntax.keyword:
        np.testing.assert_array_equal(radiograph.pixels, read(plain).pixels)


@pytest.mark.parametrize(
    "syntax",
    [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.RLELossless],
    ids=lambda syntax: syntax.keyword,
)
@pytest.mark.parametrize("depth", [8, 12, 16])
def test_lossless_compression_changes_nothing(
    make_dicom: MakeDicom, compress: Compress, chest: np.ndarray, syntax: uid.UID, depth: int
) -> None:
    pixels = {8: (chest >> 4).astype(np.uint8), 12: chest, 16: chest * np.uint16(16)}[depth]
    plain = make_dicom(pixels, BitsStored=depth)
    data = compress(plain, syntax)
    assert _syntax(data) == syntax
    np.testing.assert_array_equal(read(data).pixels, read(plain).pixels)


@pytest.mark.parametrize(
    "syntax", [uid.JPEGLosslessSV1, uid.RLELossless], ids=lambda syntax: syntax.keyword
)
def test_compressed_signed_pixels_keep_their_sign(
    make_dicom: MakeDicom, compress: Compress, chest: np.ndarray, syntax: uid.UID
) -> None:
    plain = make_dicom(chest.astype(np.int16) - 2048, WindowCenter=0, WindowWidth=3000)
    np.testing.assert_array_equal(read(compress(plain, syntax)).pixels, read(plain).pixels)


def test_lossy_jpeg_2000_is_read(make_dicom: MakeDicom, encode: Encode, chest: np.ndarray) -> None:
    frame = encode(chest, "JPEG2000", irreversible=True, quality_layers=[4], no_jp2=True)
    about = {"BitsAllocated": 16, "BitsStored": 16, "WindowCenter": 2048, "WindowWidth": 4096}
    data = make_dicom(frame, shape=chest.shape, syntax=uid.JPEG2000, **about)
    plain = make_dicom(chest, **about)
    difference = read(data).pixels.astype(int) - read(plain).pixels
    assert 0 < np.abs(difference).mean() < 65535 * 0.02


def test_colour_files_become_luma_as_pillow_computes_it(
    dcmtk: Any, make_dicom: MakeDicom, rng: np.random.Generator
) -> None:
    rgb = np.repeat(np.repeat(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), 8, 0), 8, 1)
    expected = np.array(Image.fromarray(rgb).convert("L")).astype(int)
    plain = make_dicom(rgb)
    radiograph = read(plain)
    np.testing.assert_array_equal(radiograph.pixels, expected)
    assert radiograph.channel_spread > 50
    assert radiograph.photometric_interpretation == "RGB"
    lossy = dcmtk.convert("dcmcjpeg", plain, "+eb", "+q", "95")
    assert "YBR" in pydicom.dcmread(BytesIO(lossy)).PhotometricInterpretation
    assert np.abs(read(lossy).pixels - expected).mean() < 3
    np.testing.assert_array_equal(read(dcmtk.convert("dcmcrle", plain)).pixels, expected)


def test_what_kills_the_codec_is_an_error_of_that_file_only(
    make_dicom: MakeDicom, compress: Compress, chest: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = compress(make_dicom(chest, BitsStored=12), uid.JPEGLosslessSV1)
    suicidal = Path(codec.__file__).with_name("codec_child.py").read_text()
    suicidal = suicidal.replace("_limit()\n    # Lib", "os.abort()\n    # Lib")
    assert "os.abort()" in suicidal
    original = codec.subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        return original([command[0], "-c", suicidal], **options)

    monkeypatch.setattr(codec.subprocess, "run", run)
    with pytest.raises(ImageError, match="pixels are damaged or do not fit the header"):
        read(data)
    monkeypatch.undo()
    read(data)


def test_a_codec_that_does_not_end_is_ended(
    make_dicom: MakeDicom, compress: Compress, chest: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = compress(make_dicom(chest, BitsStored=12), uid.JPEGLosslessSV1)
    monkeypatch.setattr(codec, "_TIMEOUT", 0.001)
    with pytest.raises(ImageError, match="takes longer than"):
        read(data)


@pytest.mark.parametrize(
    "syntax",
    [uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless],
    ids=lambda syntax: syntax.keyword,
)
def test_compressed_pixels_that_end_early_are_refused(
    make_dicom: MakeDicom, compress: Compress, chest: np.ndarray, syntax: uid.UID
) -> None:
    data = compress(make_dicom(chest, BitsStored=12), syntax)
    frame = next(pydicom.encaps.generate_frames(pydicom.dcmread(BytesIO(data)).PixelData))
    cut = make_dicom(
        frame[: len(frame) // 2],
        shape=chest.shape,
        syntax=syntax,
        BitsAllocated=16,
        BitsStored=12,
    )
    with pytest.raises(ImageError, match="damaged or do not fit"):
        read(cut)


def test_an_unknown_transfer_syntax_is_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(b"\0" * 16, shape=(4, 4), syntax=uid.HEVCMP51)
    with pytest.raises(ImageError, match="cannot be decoded"):
        read(data)


def test_a_frame_is_decoded_also_where_memory_is_limited_already(
    make_dicom: MakeDicom, compress: Compress, chest: np.ndarray, tmp_path: Path
) -> None:
    """As in the service, whose processes cannot raise what they were given."""
    file = tmp_path / "chest.dcm"
    file.write_bytes(compress(make_dicom(chest, BitsStored=12), uid.JPEGLosslessSV1))
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "from pneumoscope.images import read\n"
        "print(read(sys.argv[1]).bits)"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("16\n", 0), done.stderr
