"""How grey levels become the numbers that a model of others was trained on."""

from __future__ import annotations

import re
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

_NUMBER = r"-?\d{1,6}(?:\.\d{1,6})?"
_RANGE = rf"{_NUMBER}\.\.{_NUMBER}"
Range = Annotated[str, Field(pattern=rf"^{_RANGE}$")]
#: `imagenet`, `caffe`, or a range such as `0..1`.
Values = Annotated[str, Field(pattern=rf"^(?:imagenet|caffe|{_RANGE})$")]

_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_CAFFE = [103.939, 116.779, 123.68]


class Scale(BaseModel):
    """Black and white become the ends of a range; then the mean is taken off, std divides.

    Mean and std are in the units of the range, in the order of the input's channels; a single
    number holds for all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    range: Range = "0..1"
    mean: list[float] | float = 0.0
    std: list[float] | float = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.ends
        if low == high:
            raise ValueError("black and white may not become the same number")
        if np.min(self.std) <= 0:
            raise ValueError("std takes numbers above 0")
        return self

    @classmethod
    def from_name(cls, name: str, *, backwards: bool) -> Scale:
        """Return the scale of `imagenet`, `caffe` or a range; `backwards` for channels in BGR."""
        if name == "caffe":  # Keras' ResNet50 `preprocess_input`: BGR in any case
            return cls(range="0..255", mean=_CAFFE)
        if name == "imagenet":
            mean, std = (rows[::-1] if backwards else rows for rows in _IMAGENET)
            return cls(mean=mean, std=std)
        return cls(range=name)

    @property
    def ends(self) -> tuple[float, float]:
        """What black and white become, before the mean is taken off."""
        # The second dot of `0...5` would be read as one of the range's: numbers start with digits.
        low, high = re.fullmatch(rf"({_NUMBER})\.\.({_NUMBER})", self.range).groups()  # type: ignore[union-attr]
        return float(low), float(high)

    def check_channels(self, channels: int) -> None:
        """Raise `ValueError` unless mean and std fit the number of channels."""
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, list) and len(value) not in {1, channels}:
                raise ValueError(
                    f"values have {len(value)} numbers for {name}, one for each of the channels "
                    f"is needed: {channels}"
                )

    def build_table(self, channels: int) -> NDArray[np.float32]:
        """Return what each grey level becomes in each channel, float32 [channels, 256]."""
        low, high = self.ends
        level = low + np.arange(256) / 255 * (high - low)
        mean = np.broadcast_to(np.asarray(self.mean, np.float64), channels)
        std = np.broadcast_to(np.asarray(self.std, np.float64), channels)
        return ((level - mean[:, None]) / std[:, None]).astype(np.float32)
