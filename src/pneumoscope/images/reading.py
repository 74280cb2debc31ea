"""Reading: a path, bytes or a stream becomes a checked `Radiograph`, or a typed error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from pneumoscope.errors import ImageError
from pneumoscope.images.grey_values import GreyValues, show_all
from pneumoscope.images.radiograph import (
    MAX_BYTES,
    Header,
    Radiograph,
    describe_error,
    is_dicom,
)
from pneumoscope.images.raster import decode_raster


def read(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    name: str | None = None,
    target_size: int | None = None,
) -> Radiograph:
    """Read one image: JPEG, PNG, TIFF, BMP, WebP or DICOM, told apart by content, not by name.

    Parameters
    ----------
    source
        A path, the bytes of a file, or a binary stream.
    name
        What to call the image in messages, where `source` is not a path.
    target_size
        Side in pixels that the network will want: large JPEG files are then decoded at a reduced
        scale, never below twice that size.

    Raises
    ------
    ImageError
        The file is missing, empty, truncated, too large, or no image.
    """
    data, label = _load_bytes(source, name)
    if not data:
        raise ImageError(f"{label} is empty.")
    if is_dicom(data):
        from pneumoscope.images.dicom import decode_dicom  # pydicom is slow to import

        return decode_dicom(data, label)
    return decode_raster(data, label, target_size)


def read_grey_values(data: bytes, *, name: str | None = None) -> GreyValues:
    """Return every grey value of an image's bytes, for a viewer to set the window of.

    Raises
    ------
    ImageError
        As of `read`.
    """
    if is_dicom(data):
        from pneumoscope.images.dicom import decode_grey_values

        return decode_grey_values(data, name or "image")
    radiograph = read(data, name=name)
    return show_all(radiograph.pixels, radiograph.bits)


def read_header(data: bytes) -> Header:
    """Return what the bytes of a DICOM file say of the patient and the day, without its pixels.

    Raises
    ------
    ImageError
        They are damaged.
    """
    from pneumoscope.images.dicom import read_dicom_header

    return read_dicom_header(data)


def _load_bytes(
    source: str | os.PathLike[str] | bytes | BinaryIO, name: str | None
) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        label = name or "image"
        _check_length(len(source), label)
        return source, label
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        label = name or os.fspath(source)
        try:
            if path.is_dir():
                raise ImageError(f"{label} is a folder, an image file is needed.")
            if path.exists() and not path.is_file():  # a device or a pipe may never end
                raise ImageError(f"{label} is no regular file, an image file is needed.")
            _check_length(path.stat().st_size, label)
            return path.read_bytes(), label
        except FileNotFoundError as error:
            raise ImageError(f"{label} does not exist.") from error
        except (OSError, ValueError) as error:
            raise ImageError(f"{label} cannot be read: {describe_error(error)}.") from error
    if hasattr(source, "read"):
        return _drain(source, name or str(getattr(source, "name", "stream")))
    raise ImageError(
        f"An image is a path, bytes, a binary stream or an array with its photometric "
        f"interpretation, found {type(source).__name__}."
    )


def _drain(stream: BinaryIO, label: str) -> tuple[bytes, str]:
    try:
        data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"{label} cannot be read: {describe_error(error)}.") from error
    if not isinstance(data, bytes):
        raise ImageError(f"{label} yields {type(data).__name__}, a binary stream is needed.")
    _check_length(len(data), label)
    return data, label


def _check_length(length: int, label: str) -> None:
    if length > MAX_BYTES:
        raise ImageError(f"{label} has more than {MAX_BYTES >> 20} MiB, the most allowed.")
