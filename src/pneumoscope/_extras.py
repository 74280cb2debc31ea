"""Optional dependencies: one helper whose error names the extra that brings them."""

from __future__ import annotations

import importlib.util

from pneumoscope.errors import MissingExtraError


def require_extra(extra: str, *modules: str, purpose: str) -> None:
    """Raise `MissingExtraError` unless every one of `modules` can be imported."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"{purpose} needs {', '.join(missing)}, which is not installed: "
            f"pip install 'pneumoscope[{extra}]'."
        )
