"""Precisions: fp32 is the reference; a bundle offers faster ones that were found to agree."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

from pneumoscope.bundle import GRAPH, BundleInfo, PrecisionInfo
from pneumoscope.errors import PneumoscopeError

REFERENCE = "fp32"
#: The fastest first: `auto` takes the first that the bundle offers and the processor speeds up.
FAST = ("int8", "bf16")
PRECISIONS = (REFERENCE, *reversed(FAST), "auto")
_NEEDED = {
    "int8": re.compile(r"\b(avx512_vnni|avx_vnni|amx_int8|asimddp)\b"),
    "bf16": re.compile(r"\b(avx512_bf16|amx_bf16|bf16)\b"),
}


def choose_precision(wanted: str, info: BundleInfo) -> str:
    """Return the precision to run, `auto` resolved for this processor.

    Raises
    ------
    PneumoscopeError
        An unknown precision, or one that the bundle does not offer.
    """
    if wanted not in PRECISIONS:
        raise PneumoscopeError(f"--precision takes {', '.join(PRECISIONS)}, found {wanted!r}.")
    offered = [name for name in FAST if name in info.precisions and info.precisions[name].accepted]
    if wanted == "auto":
        return next((name for name in offered if is_fast_here(name)), REFERENCE)
    if wanted != REFERENCE and wanted not in offered:
        tried = info.precisions.get(wanted)
        why = "was not compared with fp32 when the bundle was made"
        if tried is not None:
            why = (
                f"changed {tried.decisions_changed:.1%} of the decisions and the AUC by "
                f"{tried.auc_change:+z.4f}, too much"
            )
        others = ", ".join((REFERENCE, *reversed(offered)))
        raise PneumoscopeError(f"This bundle offers no {wanted}: it {why}; it offers {others}.")
    return wanted


def describe_precision(name: str, info: BundleInfo) -> PrecisionInfo:
    """Return graph, calibration and points of a precision that `choose_precision` gave."""
    return info.precisions[name] if name != REFERENCE else equal_reference(info)


def equal_reference(info: BundleInfo, graph: str = GRAPH) -> PrecisionInfo:
    """Return a precision that decides as fp32 does: fp32 itself, or another before it is judged."""
    return PrecisionInfo(
        graph=graph,
        calibration=info.calibration,
        operating_points=info.operating_points,
        images=1,
        auc_change=0,
        decisions_changed=0,
        probability_change=0,
        accepted=True,
    )


def is_fast_here(precision: str) -> bool:
    """Whether this processor has instructions for it; without them it is slower than fp32."""
    return bool(_NEEDED[precision].search(read_instructions()))


@cache
def read_instructions() -> str:
    """Return the names of the processor's instructions where the system tells them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "asimddp bf16" if platform.machine() == "arm64" else ""
    lines = text.splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
