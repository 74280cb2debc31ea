"""Radiographs in every wrapping that a hospital sends, and DCMTK as the second opinion."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import (
    UID,
)

Encode = Callable[..., bytes]
MakeDicom = Callable[..., bytes]
Compress = Callable[[bytes, UID], bytes]


def encode_image(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def encode() -> Encode:
    """Return `encode(image or array, "PNG", **options)`: the bytes of an image file."""
    return encode_image


@pytest.fixture(scope="session")
def chest() -> np.ndarray:
    """A smooth 12-bit picture with noise, uint16 [48, 64], its values from 0 to 4095."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:48, :64]
    values = 2000 + 1800 * np.sin(x / 9) * np.cos(y / 7) + rng.normal(0, 40, (48, 64))
    values[0, 0], values[0, 1] = 0, 4095
    return values.clip(0, 4095).astype(np.uint16)


class Dcmtk:
    """OFFIS DCMTK's command-line tools."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, program: str, *arguments: str | Path) -> None:
        if shutil.which(program) is None:
            message = f"{program} is not installed (Debian package dcmtk)"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def convert(self, program: str, data: bytes, *options: str) -> bytes:
        """Return the DICOM file that a tool makes of another."""
        before, after = self._folder / "before.dcm", self._folder / "after.dcm"
        before.write_bytes(data)
        self.run(program, *options, before, after)
        return after.read_bytes()

    def render(self, data: bytes, *options: str) -> np.ndarray:
        """Return what DCMTK shows of a file, at 16 bits whatever was stored."""
        before, after = self._folder / "before.dcm", self._folder / "after.png"
        before.write_bytes(data)
        self.run("dcmj2pnm", *options, "+on2", before, after)
        with Image.open(after) as image:
            return np.array(image)


@pytest.fixture
def dcmtk(tmp_path: Path) -> Dcmtk:
    return Dcmtk(tmp_path)


@pytest.fixture(scope="session")
def compress(tmp_path_factory: pytest.TempPathFactory) -> Compress:
    """Return `compress(file, syntax)`: the DICOM file compressed by GDCM, undamaged data only."""
    import gdcm

    folder = tmp_path_factory.mktemp("compress")

    def run(data: bytes, syntax: UID) -> bytes:
        before, after = folder / "before.dcm", folder / "after.dcm"
        before.write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(after))
        assert writer.Write()
        return after.read_bytes()

    return run
