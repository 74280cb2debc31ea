"""How far long work is, told under the title of its part."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
Stages = Callable[[str, int, int], None]


def give_title(progress: Stages, title: str) -> Progress:
    """Return what tells how much of one part is done."""
    return lambda done, total: progress(title, done, total)
