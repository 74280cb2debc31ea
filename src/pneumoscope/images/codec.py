"""Decoding of compressed DICOM frames: which library opens which transfer syntax.

GDCM alone reads lossless JPEG, JPEG-LS and 12-bit JPEG, but a few wrong bytes make it abort the
whole process, or touch memory that is not its own. So it works in a child of ours, one a frame:
what ends the child is an error for that file and for no other. It costs about a tenth of a second.
JPEG and JPEG 2000, which are far more common, go through Pillow, which survives damage.

The functions without an underscore but `open_pixels` are what pydicom asks of a plugin.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

_LABEL = "pneumoscope"
_CHILD = Path(__file__).with_name("codec_child.py")
#: No radiograph takes seconds.
_TIMEOUT = 60.0

DECODER_DEPENDENCIES = dict.fromkeys(
    (
        uid.JPEGExtended12Bit,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEGLSNearLossless,
    ),
    ("python-gdcm",),
)
_PLUGINS = {
    **dict.fromkeys(DECODER_DEPENDENCIES, _LABEL),
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEG2000, uid.JPEG2000Lossless), "pillow"),
    uid.RLELossless: "pydicom",
}


def open_pixels(dataset: Dataset) -> NDArray[np.generic]:
    """Return the stored values [H, W], or [H, W, 3] as RGB; pydicom's errors pass through.

    Old writers left unused bits below the stored ones (HighBit of PS3.5 8.1.1, since retired);
    pydicom takes the lowest bits always.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in DECODER_DEPENDENCIES and _LABEL not in get_decoder(syntax).available_plugins:
        get_decoder(syntax).add_plugin(_LABEL, (__name__, "decode_frame"))
    stored, above = int(dataset.BitsStored), int(dataset.get("HighBit", dataset.BitsStored - 1)) + 1
    unused = 0 if syntax.is_compressed else above - stored  # a codec hands over the values alone
    if unused < 0 or above > int(dataset.BitsAllocated):
        raise ValueError(f"{stored} bits below bit {above} of {dataset.BitsAllocated} are no pixel")
    pixels: NDArray[Any] = pixel_array(
        dataset, decoding_plugin=_PLUGINS.get(syntax, ""), bits_stored=stored + unused
    )
    return pixels >> unused if unused else pixels


def is_available(_syntax: str) -> bool:
    """Whether the library is installed; it is a dependency, but not on every platform."""
    return importlib.util.find_spec("gdcm") is not None


def decode_frame(frame: bytes, runner: Any) -> bytes:
    """Decode one frame in a child process; `runner` is pydicom's, with the header's facts."""
    stored = runner.bits_stored
    if runner.transfer_syntax in {uid.JPEGLSLossless, uid.JPEGLSNearLossless}:
        # JPEG-LS is unpacked by its own precision, and colour by pixel, whatever the header says.
        stored = runner.get_option("jls_precision", stored)
        runner.set_option("bits_allocated", 8 if stored <= 8 else 16)
        if runner.samples_per_pixel > 1:
            runner.set_option("planar_configuration", 0)
    facts = {
        "syntax": str.__str__(runner.transfer_syntax),
        "rows": runner.rows,
        "columns": runner.columns,
        "samples": runner.samples_per_pixel,
        "planar": runner.planar_configuration if runner.samples_per_pixel > 1 else 0,
        "photometric": str(runner.photometric_interpretation),
        "allocated": runner.bits_allocated,
        "stored": stored,
        "signed": runner.pixel_representation,
    }
    try:
        done = subprocess.run(
            # -P: the child's folder holds modules that could stand in for others of their name.
            [sys.executable, "-P", str(_CHILD)],
            input=json.dumps(facts).encode() + b"\n" + frame,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"decoding takes longer than {_TIMEOUT:.0f} seconds") from error
    expected = runner.rows * runner.columns * runner.samples_per_pixel * runner.bits_allocated // 8
    if done.returncode or len(done.stdout) != expected:
        raise ValueError("the compressed pixels are damaged or do not fit the header")
    return done.stdout
