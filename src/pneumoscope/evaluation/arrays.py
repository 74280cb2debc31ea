"""The arrays that predictions are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: int [N], 0 (NORMAL) or 1 (PNEUMONIA).
Labels = NDArray[np.int64]
#: float [N]: probabilities (0..1), logits, or weights.
Scores = NDArray[np.float64]
#: Patient of each image, None where unknown; None for all where no patient is known.
Groups = Sequence[str | None] | None
