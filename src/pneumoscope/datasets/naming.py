"""The file names of the Kermany collection: they carry series, patient and disease.

`person<number>_<bacteria|virus>_<n>.jpeg` is a pneumonia, `IM-<number>-<m>.jpeg` and
`NORMAL2-IM-<number>-<m>.jpeg` are normal. The numbers run in order of acquisition, for each series
of its own: a patient is a (series, number), not a bare number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_PNEUMONIA = re.compile(r"person(\d{1,9})_(bacteria|virus)_\d+(?:_\d+)?", re.IGNORECASE | re.ASCII)
_NORMAL = re.compile(r"(NORMAL2-IM|IM)-(\d{1,9})-\d+(?:-\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class NameParts:
    """What a file name says."""

    series: str
    """bacteria, virus, IM or NORMAL2-IM."""
    number: int
    subtype: str
    """bacteria, virus or none."""

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
    return None
