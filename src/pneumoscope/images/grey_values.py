"""The grey values of a radiograph as a viewer wants them: all, and a window to begin with."""

from __future__ import annotations

from dataclasses import dataclass

from pneumoscope.images.radiograph import Pixels


@dataclass(frozen=True, eq=False)
class GreyValues:
    """One radiograph's values, none cut off by a window."""

    values: Pixels
    """uint8 [H, W], or uint16 where `bits` is above 8; the higher, the denser."""
    bits: int
    """Significant bits, 8 to 16: values lie in 0 .. 2**bits - 1."""
    window: tuple[float, float]
    """The values that the file wants black and white; they may lie outside those there are."""
    is_exact: bool = False
    """Whether the file says its window as LINEAR_EXACT, not as LINEAR (PS3.3 C.11.2.1.2.1)."""
    slope: float = 1.0
    """`slope * value + intercept` is the value in the file's own units; below 0 they fall."""
    intercept: float = 0.0


def show_all(values: Pixels, bits: int) -> GreyValues:
    """Return the values of a file that states no window, with the one that shows them all."""
    return GreyValues(values, bits, (0.0, float((1 << bits) - 1)))
