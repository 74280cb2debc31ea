"""Run as a script: decode one compressed frame with GDCM, from standard input to output.

It imports nothing of ours, so that it starts quickly; `codec.py` says why it exists.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

#: What one frame may take; a radiograph needs a hundredth of it.
_MAX_MEMORY = 4 * 2**30


def main() -> int:
    """Read a line of JSON and the frame, write the pixels; 1 where there are none."""
    _limit()
    # Libraries that print would spoil the pixels: their standard output becomes the error output.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    facts = json.loads(sys.stdin.buffer.readline())
    pixels = decode(sys.stdin.buffer.read(), facts)
    if pixels is None:
        return 1
    answer.write(pixels)
    answer.close()
    return 0


def decode(frame: bytes, facts: dict[str, Any]) -> bytes | None:
    """Return the pixels of a frame as GDCM sees them, or None where it sees none."""
    import gdcm  # type: ignore[import-untyped]

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((facts["columns"], facts["rows"], 1))
    image.SetDataElement(element)
    interpretation = gdcm.PhotometricInterpretation.GetPIType(facts["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(interpretation))
    if facts["samples"] > 1:
        image.SetPlanarConfiguration(facts["planar"])
    syntax = gdcm.TransferSyntax.GetTSType(facts["syntax"])
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    stored = facts["stored"]
    image.SetPixelFormat(
        gdcm.PixelFormat(facts["samples"], facts["allocated"], stored, stored - 1, facts["signed"])
    )
    buffer = image.GetBuffer()
    # The binding hands bytes over as text.
    return buffer.encode("utf-8", "surrogateescape") if buffer else None


def _limit() -> None:
    """Let a hostile frame take neither all memory nor leave a core dump, where that can be set."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whoever started us may have less, and that cannot be raised.
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MAX_MEMORY if hard == resource.RLIM_INFINITY else min(_MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    sys.exit(main())
