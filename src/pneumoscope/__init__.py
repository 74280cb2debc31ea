"""Pneumoscope: a pneumonia detector for chest radiographs. Research use, not a diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pneumoscope.runtime import Finding, Predictor, load

__version__ = "0.1.0"
__all__ = ["Finding", "PneumoscopeError", "Predictor", "__version__", "load"]

from pneumoscope.errors import PneumoscopeError


def __getattr__(name: str) -> Any:
    """Import the runtime only when it is asked for: `import pneumoscope` stays light."""
    if name in {"Finding", "Predictor", "load"}:
        from pneumoscope import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
