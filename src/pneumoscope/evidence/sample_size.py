"""How many cases are too few to set thresholds by."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from pneumoscope.errors import DataError
from pneumoscope.evaluation import wilson_interval

#: Fewer cases of a class set no threshold: where none of 10 is missed, 3 in 10 still may be.
LEAST_CASES = 10
_NUMBERS = {"PNEUMONIA": "sensitivity", "NORMAL": "specificity"}


def count_cases(frame: pl.DataFrame) -> dict[str, int]:
    """Return label → number of patients, or of images where patients are unknown."""
    counts = frame.group_by("label").agg(pl.col("group").n_unique())
    return dict.fromkeys(("NORMAL", "PNEUMONIA"), 0) | dict(counts.iter_rows())


def check_cases(cases: Mapping[str, int]) -> None:
    """Raise `DataError` where a class has fewer cases than any threshold could rest on.

    `cases` maps NORMAL and PNEUMONIA to the number of patients, since images of one patient say
    little more than one of them; to that of images where patients are unknown.
    """
    for label, n in cases.items():
        if n < LEAST_CASES:
            why = (
                f"even with no error among {n}, up to {min(1.0, 3 / n):.0%} may be wrong (rule of "
                "three)"
                if n
                else "both classes are needed"
            )
            raise DataError(
                f"The sample has {n} {label} cases (patients, where they are known), too few to "
                f"recalibrate by: {why}. At least {LEAST_CASES} of each class are needed; collect "
                "more."
            )


def count_needed(share: float) -> int:
    """Return how many cases can support a share: 3 / (1 - share), the rule of three.

    Source: Hanley and Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031.
    """
    return math.ceil(3 / (1 - share) - 1e-9)


def list_shortages(cases: Mapping[str, int], targets: Mapping[str, float]) -> list[str]:
    """Return, for each class that cannot support its target share, how wide the doubt is.

    Parameters
    ----------
    cases
        As for `check_cases`, none of them 0.
    targets
        PNEUMONIA → the sensitivity aimed at, NORMAL → the specificity.
    """
    found = []
    for label, target in targets.items():
        n, needed = cases[label], count_needed(target)
        if n >= needed:
            continue
        interval = wilson_interval(round(target * n), n)
        assert interval is not None  # there is a case
        found.append(
            f"{n} {label} cases are few: a {_NUMBERS[label]} of {target:.1%} on them is known to "
            f"{interval.low:.0%}–{interval.high:.0%} only; to support it takes {needed} (rule of "
            "three)."
        )
    return found
