"""Fonts for names in any script: what the usual font lacks, one that is installed may have."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

#: Fonts of boxes that stand for characters; they have all, and show none.
_BOXES = ("last resort", "lastresort")


def add_fonts(figure: Figure) -> None:
    """Let a figure's texts fall back on installed fonts, where the usual one lacks a character."""
    for axes in figure.axes:  # the names beside an axis are made when they are asked for
        axes.get_xticklabels()
        axes.get_yticklabels()
    texts = figure.findobj(Text)
    written = {character for text in texts for character in text.get_text()}
    usual = _read_characters(findfont(FontProperties()))
    missing = frozenset(c for c in written if ord(c) not in usual and not c.isspace())
    if not missing:
        return
    installed = tuple(sorted({(font.name, font.fname) for font in fontManager.ttflist}))
    families = _find_families(missing, installed)
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *families])


@lru_cache(maxsize=32)
def _find_families(missing: frozenset[str], installed: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the families, of (family, file) pairs, that have the characters: as few as will do."""
    offered = {
        family: {c for c in missing if ord(c) in _read_characters(file)}
        for family, file in installed
        if not family.lower().startswith(_BOXES)
    }
    chosen, left = [], set(missing)
    while left and offered:
        best = max(offered, key=lambda family: len(offered[family] & left))
        if not offered[best] & left:
            break
        chosen.append(best)
        left -= offered[best]
    return chosen


def _read_characters(file: str) -> frozenset[int]:
    """Return the code points that a font has; none where it cannot be read."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # removed since the list was made, or damaged
        return frozenset()
