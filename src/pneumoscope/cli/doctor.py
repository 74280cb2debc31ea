"""`pneumoscope doctor`: what is installed, what the hardware offers, where things are kept."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

_EXTRAS = {
    "evidence": ("polars", "scipy", "sklearn", "matplotlib", "jinja2"),
    "train": ("torch", "torchvision", "onnx", "safetensors", "yaml", "tensorboard"),
    "fetch": ("kaggle",),
    "onnxruntime": ("onnxruntime",),
    "int8": ("nncf", "onnx"),
    "mlflow": ("mlflow",),
    "notebook": ("nbclient", "ipykernel"),
}
_CORE = ("numpy", "pillow", "pydicom", "python-gdcm", "openvino", "pydantic", "typer", "rich")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what is installed, what the hardware offers, and where caches and models are."""
    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for title, entries in facts.items():
        typer.secho(title, bold=True)
        for name, value in entries.items():
            typer.echo(f"  {name:16} {value}")


def examine() -> dict[str, dict[str, Any]]:
    """Return what there is to know about this installation, by heading."""
    return {
        "installed": _list_core(),
        "extras": {extra: _describe_extra(extra, modules) for extra, modules in _EXTRAS.items()},
        "hardware": _describe_hardware(),
        "places": _describe_places(),
    }


def _list_core() -> dict[str, str]:
    from pneumoscope import __version__

    versions = {"pneumoscope": __version__, "python": platform.python_version()}
    for name in _CORE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing: reinstall pneumoscope"
    return versions


def _describe_extra(extra: str, modules: tuple[str, ...]) -> str:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return (
        f"pip install 'pneumoscope[{extra}]' ({', '.join(missing)} missing)" if missing else "yes"
    )


def _describe_hardware() -> dict[str, Any]:
    flags: set[str] = set()
    model = platform.processor() or "unknown"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the plain name has to do
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    if torch := _import_torch():  # knows what the processor does where the kernel does not tell
        flags |= {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "instructions": ", ".join(name for name in wanted if name in flags) or "not known",
        "gpu": _describe_gpu(),
    }


def _describe_gpu() -> str:
    torch = _import_torch()
    if torch is None:
        return "not looked for: torch is not installed"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _import_torch() -> ModuleType | None:
    return None if importlib.util.find_spec("torch") is None else import_module("torch")


def _describe_places() -> dict[str, Any]:
    from pneumoscope._files import find_cache_folder, measure_caches
    from pneumoscope.errors import BundleError
    from pneumoscope.runtime import find_bundled_model

    try:
        model = str(find_bundled_model())
    except BundleError:
        model = "none in the box"
    cache = find_cache_folder()
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    token = Path("~/.kaggle/kaggle.json").expanduser().is_file() or "KAGGLE_KEY" in os.environ
    return {
        "model": model,
        "caches": str(cache),
        **{f"  {name}": f"{size / 1e6:.1f} MB" for name, size in measure_caches().items()},
        "free disk": f"{shutil.disk_usage(existing).free / 1e9:.1f} GB",
        "kaggle token": "found" if token else "none (needed by `pneumoscope data fetch`)",
    }
