"""The file names of the Kermany collection: they carry series, patient and disease.

`person<number>_<bacteria|virus>_<n>.jpeg` is a pneumonia, `IM-<number>-<m>.jpeg` and
`NORMAL2-IM-<number>-<m>.jpeg` are normal. The numbers run in order of acquisition, for each series
of its own: a patient is a (series, number), not a bare number.

A later release of the same collection (Mendeley Data V3) names its files `BACTERIA-<patient>-<n>`,
`VIRUS-<patient>-<n>` and `NORMAL-<patient>-<n>`; its patients are numbered at random.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_PNEUMONIA = re.compile(r"person(\d{1,9})_(bacteria|virus)_\d+(?:_\d+)?", re.IGNORECASE | re.ASCII)
_NORMAL = re.compile(r"(NORMAL2-IM|IM)-(\d{1,9})-\d+(?:-\d+)?", re.IGNORECASE | re.ASCII)
_LATER = re.compile(r"(BACTERIA|VIRUS|NORMAL)-(\d{1,9})-\d+", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class NameParts:
    """What a file name says."""

    series: str
    """bacteria, virus, IM or NORMAL2-IM; BACTERIA, VIRUS or NORMAL in the later release."""
    number: int
    subtype: str
    """bacteria, virus or none."""
    in_order: bool = True
    """Whether numbers run in order of acquisition."""

    @property
    def patient(self) -> str:
        """The patient key."""
        return f"{self.series}-{self.number}"


def parse_name(name: str) -> NameParts | None:
    """Return what a file name of the collection says; None for any other name."""
    stem = PurePosixPath(name.replace("\\", "/")).name.rsplit(".", 1)[0]
    if match := _PNEUMONIA.fullmatch(stem):
        series = match[2].lower()
        return NameParts(series, int(match[1]), series)
    if match := _NORMAL.fullmatch(stem):
        return NameParts(match[1].upper(), int(match[2]), "none")
    if match := _LATER.fullmatch(stem):
        series = match[1].upper()
        subtype = "none" if series == "NORMAL" else series.lower()
        return NameParts(series, int(match[2]), subtype, in_order=False)
    return None
