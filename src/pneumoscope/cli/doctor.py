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

from pneumoscope.cli._options import BundleOption

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


_DIFFERS = "answers otherwise than recorded"


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    bundle: BundleOption = None,
) -> None:
    """Show what is installed, what the hardware offers, and where caches and models are.

    The model answers its golden images: a machine that answers otherwise than the one that made
    the bundle gives exit code 1.
    """
    facts = examine(bundle)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        for title, entries in facts.items():
            typer.secho(title, bold=True)
            for name, value in entries.items():
                typer.echo(f"  {name:16} {value}")
    if any(str(value).startswith(_DIFFERS) for value in facts["model"].values()):
        raise typer.Exit(1)


def examine(bundle: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return what there is to know about this installation, by heading."""
    return {
        "model": _describe_model(bundle),
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


def _describe_model(folder: Path | None) -> dict[str, str]:
    """Return which model answers, and whether it answers here as it did where it was made."""
    from pneumoscope import runtime
    from pneumoscope.bundle import read_bundle
    from pneumoscope.errors import BundleError

    try:
        bundle = read_bundle(folder or runtime.find_bundled_model())
    except BundleError as error:
        if folder is not None:
            raise
        return {"bundle": str(error)}
    facts = {"bundle": str(bundle.path), "name": bundle.info.name, "sha256": bundle.sha256}
    offered = [name for name, found in bundle.info.precisions.items() if found.accepted]
    for precision in ("fp32", *offered):
        engine = runtime.start_engine("openvino", bundle, precision)
        deviation = runtime.measure_deviation(bundle, engine, precision)
        allowed = runtime.TOLERANCES[precision]
        if deviation is None:
            facts[precision] = "no golden images in the bundle: not compared"
        elif deviation <= allowed:
            facts[precision] = f"answers as recorded (a logit differs by {deviation:.1g} at most)"
        else:
            facts[precision] = f"{_DIFFERS}: a logit by {deviation:.3g}, {allowed:g} is allowed"
    return facts


def _describe_places() -> dict[str, Any]:
    from pneumoscope._files import find_cache_folder, measure_caches

    cache = find_cache_folder()
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    token = Path("~/.kaggle/kaggle.json").expanduser().is_file() or "KAGGLE_KEY" in os.environ
    return {
        "caches": str(cache),
        **{f"  {name}": f"{size / 1e6:.1f} MB" for name, size in measure_caches().items()},
        "free disk": f"{shutil.disk_usage(existing).free / 1e9:.1f} GB",
        "kaggle token": "found" if token else "none (needed by `pneumoscope data fetch`)",
    }
