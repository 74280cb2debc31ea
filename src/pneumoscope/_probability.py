"""How probabilities are written for people; one way, in every table, picture and sentence."""

from __future__ import annotations


def format_probability(value: float) -> str:
    """Return three decimals, or as many more as keep a small or large value off 0 and 1.

    >>> format_probability(0.8764), format_probability(0.00004), format_probability(0.99998)
    ('0.876', '0.00004', '0.99998')
    """
    for decimals in range(3, 9):
        text = f"{value:.{decimals}f}"
        if 0.0 < float(text) < 1.0:
            return text
    return f"{value:.3f}"
