"""What a person may ask of an evaluation beyond the usual numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pneumoscope.errors import DataError
from pneumoscope.evaluation import PREVALENCES
from pneumoscope.evidence.attention.measurement import AttentionOptions
from pneumoscope.evidence.robustness.measurement import RobustnessPlan


@dataclass(frozen=True)
class Questions:
    """The defaults ask nothing in particular."""

    prevalences: tuple[float, ...] = PREVALENCES
    """Shares of pneumonia, each above 0 and below 1, at which answers are weighed."""
    subgroups: tuple[str, ...] = ()
    """Columns of the data, each of whose groups is judged by itself."""
    earlier: Path | None = None
    """An earlier evaluation of the same images: its folder, or a table of its predictions."""
    internal: Path | None = None
    """An evaluation of the same model at home: these images are then of elsewhere, and the drop is
    reported."""
    robustness: RobustnessPlan | None = None
    """What to spend on judging the same images under shifts, too; that is left out without."""
    attention: AttentionOptions | None = None
    """How to ask whether the model looks at the lungs; not asked without."""

    def __post_init__(self) -> None:
        wrong = [share for share in self.prevalences if not 0 < share < 1]
        if wrong:
            raise DataError(
                f"A prevalence lies between 0 and 1, such as 0.05 for 5 %, found {wrong[0]:g}."
            )
