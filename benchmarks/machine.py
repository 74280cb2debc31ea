"""What the machine of a benchmark is, and how much of it others used meanwhile (Linux)."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_INSTRUCTIONS = r"\b(avx2|avx512f|avx_vnni|avx512_vnni|avx512_bf16|amx_int8|amx_bf16|amx_fp16)\b"
_PACKAGES = ("pneumoscope", "openvino", "onnxruntime", "torch", "numpy", "pillow")


def describe_machine() -> dict[str, str]:
    """Return the processor, what it can do, its cores, memory and the versions that ran."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    instructions = dict.fromkeys(re.findall(_INSTRUCTIONS, text))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model[1] if model else platform.machine(),
        "instructions": ", ".join(instructions) or "none of those that matter",
        "cores": f"{count_cores()} of {os.cpu_count()}",
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(terse=True),
        "versions": ", ".join(f"{name} {_find_version(name)}" for name in _PACKAGES),
    }


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


class Disturbance:
    """Tells how much of the processor other programs took since it was made."""

    def __init__(self) -> None:
        self._started = self._read()

    def measure_cores(self) -> float:
        """Return the cores that others kept busy on average, children that ended not counted."""
        now = self._read()
        wall, busy, own = (after - before for before, after in zip(self._started, now, strict=True))
        return max(0.0, (busy - own) / wall)

    def _read(self) -> tuple[float, float, float]:
        # user, nice, system; then interrupts and what the host took away
        fields = [
            int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ]
        busy = (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")
        usages = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return time.monotonic(), busy, sum(usage.ru_utime + usage.ru_stime for usage in usages)
