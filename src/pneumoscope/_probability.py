"""How probabilities are written for people; one way, in every table, picture and sentence."""

from __future__ import annotations


def format_probability(value: float) -> str:
    """Return three decimals, four near the ends, and never what reads as certain.

    >>> [format_probability(value) for value in (0.8764, 0.0004, 0.00004, 1.0)]
    ['0.876', '0.0004', '<0.0001', '>0.9999']
    """
    for decimals in (3, 4):
        text = f"{value:.{decimals}f}"
        if 0.0 < float(text) < 1.0:
            return text
    return "<0.0001" if value < 0.5 else ">0.9999"
