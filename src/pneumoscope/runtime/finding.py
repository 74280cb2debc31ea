"""The finding: the one result that command line, API, database and DICOM all render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.images import Geometry

SCHEMA = "pneumoscope.finding/1"
#: What `operating_point` says where two thresholds decide, and REFER lies between.
REFERRAL_BAND = "referral_band"


class Status(StrEnum):
    """What became of an image."""

    OK = "ok"
    """It was answered."""
    REJECTED = "rejected"
    """It was read, but is no image that the model may answer."""
    ERROR = "error"
    """It could not be read."""


class Decision(StrEnum):
    """What the model says at its operating point."""

    NORMAL = "NORMAL"
    PNEUMONIA = "PNEUMONIA"
    REFER = "REFER"
    """Too close to call: a person must look."""
    REJECTED = "REJECTED"


_BAND = np.array([Decision.NORMAL.value, Decision.REFER.value, Decision.PNEUMONIA.value])


def decide_by_band(probabilities: ArrayLike, rule_out: float, rule_in: float) -> NDArray[np.str_]:
    """Return NORMAL below `rule_out`, PNEUMONIA from `rule_in` on, and REFER between.

    >>> decide_by_band([0.1, 0.2, 0.7, 0.8], rule_out=0.2, rule_in=0.8).tolist()
    ['NORMAL', 'REFER', 'REFER', 'PNEUMONIA']
    """
    places = np.searchsorted([rule_out, rule_in], probabilities, side="right")
    decisions: NDArray[np.str_] = _BAND[places]
    return decisions


class WarningCode(StrEnum):
    """What a reader of the finding should know; codes, so that programs can tell them apart."""

    PHANTOM_MODEL = "phantom_model"
    CONTAMINATED_MODEL = "contaminated_model"
    OUTSIDE_POPULATION = "outside_population"

    @property
    def sentence(self) -> str:
        """Return what it means, for people."""
        return _SENTENCES[self]


_SENTENCES = {
    WarningCode.PHANTOM_MODEL: (
        "The model was trained on synthetic phantoms: its answers mean nothing for people."
    ),
    WarningCode.CONTAMINATED_MODEL: (
        "The model started from weights that had seen its test images: its numbers flatter it."
    ),
    WarningCode.OUTSIDE_POPULATION: (
        "By the looks of the image or by the patient's age, the model was not made for these "
        "people: there is no answer to rely on."
    ),
}


@dataclass(frozen=True, eq=False)
class Finding:
    """One image, one answer; research use, not a diagnosis."""

    path: str
    status: Status
    sha256: str | None = None
    decision: Decision | None = None
    probability: float | None = None
    """Calibrated probability of pneumonia, 0..1; None where there is no answer."""
    logit: float | None = None
    operating_point: str | None = None
    threshold: float | None = None
    """Of the operating point; for the referral band that of the point that would decide alone."""
    rule_out: float | None = None
    rule_in: float | None = None
    warnings: tuple[WarningCode, ...] = ()
    message: str = ""
    """One sentence for people: the answer, or why there is none."""
    precision: str | None = None
    bundle: str | None = None
    """sha256 of the bundle that answered."""
    activation_map: NDArray[np.float32] | None = field(default=None, repr=False)
    """Influence on the logit, float32 [7, 7]; not the location of pneumonia. Not in the record."""
    geometry: Geometry = Geometry.STRETCH
    """How the square of the map lies on the image. Not in the record."""
    inputs: Mapping[str, float] | None = field(default=None, repr=False)
    """What the network was shown, in a few numbers, by name of `INPUTS`; None where there is no
    finite answer. Not in the record."""

    def to_record(self) -> dict[str, Any]:
        """Return plain values in a stated order, as `predict --format jsonl` prints them."""
        record: dict[str, Any] = {"schema": SCHEMA}
        for name in RECORD_FIELDS[1:]:
            value = getattr(self, name)
            record[name] = [str(v) for v in value] if isinstance(value, tuple) else value
        return record


#: The record's fields in their order.
RECORD_FIELDS = (
    "schema",
    "path",
    "sha256",
    "status",
    "decision",
    "probability",
    "logit",
    "operating_point",
    "threshold",
    "rule_out",
    "rule_in",
    "warnings",
    "message",
    "precision",
    "bundle",
)
