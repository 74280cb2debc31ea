"""What `bundle.json` says: preprocessing, calibration, operating points, origin, file hashes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pneumoscope.images import PreprocessingSpec

#: The newest schema that this version writes, and the newest that it understands.
SCHEMA_VERSION = 2

INFO = "bundle.json"
WEIGHTS = "model.safetensors"
GRAPH = "model.onnx"
REFERENCE = "reference.npz"
TRAINING_IMAGES = "training_images.npz"
CARD = "README.md"
GOLDEN = "golden.npz"

#: Where numbers by fold of blocks lie in the metrics.
BLOCK_FOLDS = "block_folds"

#: The files that every bundle has beside `bundle.json`.
REQUIRED_FILES = (WEIGHTS, GRAPH, REFERENCE, TRAINING_IMAGES, CARD)

#: `bundle.json` stays below this size, in bytes.
MAX_INFO_BYTES = 64 * 1024

# A bundle is flat: no separators, no dot at the start or at the end, nothing of other file systems.
_FILE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Text = Annotated[str, Field(min_length=1, max_length=4000)]
Share = Annotated[float, Field(ge=0, le=1)]
FoldNumber = Literal["auc", "sensitivity", "specificity", "accuracy", "referred"]

#: The numbers of a fold, in the order of the card.
FOLD_NUMBERS: tuple[FoldNumber, ...] = get_args(FoldNumber)


class _Part(BaseModel):
    """Strict about what it does not know: a field that is not understood may change an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Calibration(_Part):
    """From logit to probability: `sigmoid(logit / temperature + bias)` (Platt 1999; Guo 2017)."""

    temperature: float = Field(default=1.0, gt=0)
    bias: float = 0.0

    def apply(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return probabilities, float64 in 0..1, of logits of any shape."""
        z = np.asarray(logits, np.float64) / self.temperature + self.bias
        # exp of a negative number only: no overflow, whatever the logit.
        small = np.exp(-np.abs(z))
        return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


class OperatingPointInfo(_Part):
    """A threshold on the calibrated probability, and what it was chosen to reach."""

    threshold: float = Field(ge=0, le=1)
    target: str
    """The aim in words, such as "sensitivity at least 0.99"."""
    sensitivity: float | None = Field(default=None, ge=0, le=1)
    """Reached on the part where the threshold was chosen."""
    specificity: float | None = Field(default=None, ge=0, le=1)


class DataInfo(_Part):
    """What the model was trained and validated on."""

    layout: str
    sources: list[str]
    counts: dict[str, dict[str, int]]
    """Images by split and class: `{"train": {"NORMAL": 1080, …}, …}`."""
    phantom: bool = False
    """Trained, wholly or in part, on synthetic radiographs."""
    contaminated: bool = False
    """Started from weights that have seen test images, on the user's word."""


class LicenceInfo(_Part):
    """Under what terms the weights are given, and whom to name."""

    name: str = Field(pattern=r"^[A-Za-z0-9.+-]+$", description="SPDX identifier, CC-BY-4.0")
    attribution: str = Field(min_length=1, max_length=2000)


class DatasetFacts(_Part):
    """The collection that a model was trained on, as others find it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,95}$")
    """A short name, for lists of results."""
    name: Text
    doi: str | None = Field(default=None, pattern=r"^10\.\d{4,9}/\S+$")
    licence: Text | None = None


class CostFacts(_Part):
    """What the training took; nothing here is ever estimated."""

    machine: Text
    cores: int = Field(ge=1)
    hours: float = Field(gt=0, description="wall time of everything, trials left out")
    energy_kwh: float | None = Field(default=None, gt=0, description="where it was measured")


class CardFacts(_Part):
    """What only people can say about a model. Its card says of the rest that nobody has."""

    intended_use: Text | None = None
    users: Text | None = None
    population: Text | None = None
    ages: tuple[float, float] | None = None
    """In years, from the first to below the second; people of another age are referred."""
    out_of_scope: list[Text] = []
    dataset: DatasetFacts | None = None
    data: Text | None = None
    """Where the images come from, who was eligible, and who labelled them."""
    failure_modes: list[Text] = []
    cost: CostFacts | None = None
    citations: list[Text] = []
    """BibTeX."""

    @field_validator("ages")
    @classmethod
    def _check_ages(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value and not 0 <= value[0] < value[1]:
            raise ValueError("ages go from one of 0 or more up to a higher one, such as [1, 6]")
        return value


class FoldInfo(_Part):
    """What a model that never saw these blocks decided about them.

    As in a report's `as_decided`: REFER counts as flagged, and as wrong for the accuracy.
    """

    name: str = Field(min_length=1, max_length=100)
    n: int = Field(ge=1, description="images")
    auc: Share | None = None
    sensitivity: Share | None = None
    specificity: Share | None = None
    accuracy: Share | None = None
    referred: Share | None = None
    intervals: dict[FoldNumber, tuple[Share, Share] | None] = {}
    """95 %, by the number's name."""


class BlockFolds(_Part):
    """The same training, judged on whole acquisition blocks in turn."""

    folds: list[FoldInfo] = Field(min_length=1)
    mean: dict[FoldNumber, Share]
    spread: dict[FoldNumber, float]
    """The standard deviation between folds; empty where there is one fold."""


class FileInfo(_Part):
    """The fingerprint of one file of the bundle."""

    sha256: str
    size: int = Field(ge=0, description="bytes")

    @field_validator("sha256")
    @classmethod
    def _check_digest(cls, value: str) -> str:
        if not _SHA256.fullmatch(value):
            raise ValueError("a sha256 is 64 hexadecimal digits in lower case")
        return value


class PrecisionInfo(_Part):
    """A faster arithmetic for the same weights, and how near it comes to fp32.

    Measured on the images that set the thresholds; it is offered only where `accepted`.
    """

    graph: str = GRAPH
    """The file of the bundle that it runs."""
    calibration: Calibration
    operating_points: dict[str, OperatingPointInfo] = Field(min_length=1)
    images: int = Field(ge=1)
    """How many were compared."""
    auc_change: float
    decisions_changed: float = Field(ge=0, le=1)
    """Share of images whose decision is another than in fp32."""
    probability_change: float = Field(ge=0, le=1)
    """The largest."""
    accepted: bool


class SampleInfo(_Part):
    """Labelled images of a place, which set calibration and thresholds there."""

    counts: dict[str, int]
    """Images by class."""
    patients: int | None = Field(default=None, ge=1)
    """None where they are not all known."""
    sources: list[str]
    fingerprint: str = Field(pattern=_SHA256.pattern)
    """sha256 of the sha256 of every file, sorted, one a line: the same images give the same."""
    rejected: int = Field(default=0, ge=0)
    """Images that the input gate would reject."""
    outside_population: int = Field(default=0, ge=0)
    """Images that the population check refers."""


class RecalibrationInfo(_Part):
    """One change of calibration and thresholds: what was before, from what, and what it gave."""

    created: str
    """When, as ISO 8601 with the time zone."""
    method: str
    sample: SampleInfo
    bundle: str = Field(pattern=_SHA256.pattern)
    """The sha256 that identified the bundle before."""
    calibration: Calibration
    """Of fp32, before."""
    operating_points: dict[str, OperatingPointInfo]
    """Of fp32, before."""
    cross_fitted: dict[str, Any] = {}
    """Numbers before and after, on images that did not fit what judged them."""
    notes: list[str] = []
    """What to know: too few cases, precisions dropped, what the checks object to."""


class BundleInfo(_Part):
    """All of `bundle.json`, except the seal that the file carries about itself."""

    format: Literal["pneumoscope-bundle"] = "pneumoscope-bundle"
    schema_version: int = Field(default=SCHEMA_VERSION, ge=1, le=SCHEMA_VERSION)
    name: str = Field(min_length=1, max_length=200)
    created: str
    """When, as ISO 8601 with the time zone."""
    preprocessing: PreprocessingSpec
    calibration: Calibration = Calibration()
    operating_points: dict[str, OperatingPointInfo] = Field(min_length=1)
    decides: str = "balanced"
    """The operating point that decides alone: its threshold lies within the referral band."""
    precisions: dict[str, PrecisionInfo] = {}
    """What runs beside fp32, by name: bf16, int8."""
    recalibrations: list[RecalibrationInfo] = []
    """Every change of calibration and thresholds for a place, the latest last."""
    metrics: dict[str, Any] = {}
    """Numbers by stage and split, as `metrics.json` of the run has them; beside the stages,
    `block_folds` where the training was judged on whole blocks in turn."""
    training: dict[str, Any] = {}
    """The resolved configuration of the run."""
    data: DataInfo
    warnings: list[str] = []
    versions: dict[str, str] = {}
    licence: LicenceInfo | None = None
    """What the weights may be used for; None where nobody has said."""
    card: CardFacts | None = None
    """What people state about the model, for its card; None where nobody has."""
    files: dict[str, FileInfo] = {}
    """Every file of the bundle but `bundle.json`; filled in when it is written."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for points in (
            self.operating_points,
            *(p.operating_points for p in self.precisions.values()),
        ):
            self._check_points(points)
        for name in (*self.files, *(p.graph for p in self.precisions.values())):
            if not _FILE_NAME.fullmatch(name) or name == INFO:
                raise ValueError(f"{name!r} is no name for a file inside a bundle")
        self.read_block_folds()
        return self

    def read_block_folds(self) -> BlockFolds | None:
        """Return the numbers by fold of blocks, where the training was judged so."""
        found = self.metrics.get(BLOCK_FOLDS)
        return None if found is None else BlockFolds.model_validate(found)

    def _check_points(self, points: dict[str, OperatingPointInfo]) -> None:
        if self.decides not in points:
            raise ValueError(
                f"operating point {self.decides!r} is to decide, but there are only "
                f"{', '.join(points)}"
            )
        order = [points[n].threshold for n in ("rule_out", "balanced", "rule_in") if n in points]
        if order != sorted(order):
            raise ValueError("thresholds must rise from rule_out over balanced to rule_in")

    def has(self, name: str) -> bool:
        """Whether the bundle has a file of this name."""
        return name in self.files
