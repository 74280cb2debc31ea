"""What a run ran on: recorded with it, compared when it is resumed."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from pneumoscope import __version__
from pneumoscope.errors import RunError
from pneumoscope.training.recipe import Precision

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "polars", "openvino", "onnx")


def describe_environment(device: torch.device, precision: Precision) -> dict[str, Any]:
    """Return versions, processor, threads and device, as plain values."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "pneumoscope": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _read_cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "gpu": gpu,
        "precision": precision.value,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def compare_environments(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a phrase for every difference that can change the last bits of a result."""
    flat_then, flat_now = ({**e, **e.get("packages", {})} for e in (then, now))
    return [
        f"{key} was {flat_then.get(key)}, is {flat_now[key]}"
        for key in flat_now
        if key not in {"packages", "cores"} and flat_then.get(key) != flat_now[key]
    ]


def choose_device(name: str) -> torch.device:
    """Return the device of this name; `auto` is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise RunError("There is no CUDA device here: use --device cpu, or auto.")
    if name not in {"cpu", "cuda"}:
        raise RunError(f"--device takes auto, cpu or cuda, found {name!r}.")
    return torch.device(name)


def choose_precision(wanted: Precision, device: torch.device) -> Precision:
    """Return bf16 or fp32; `auto` is bf16 where the hardware computes in it."""
    if wanted is not Precision.AUTO:
        return wanted
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Precision.BF16 if native else Precision.FP32


def _read_cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
