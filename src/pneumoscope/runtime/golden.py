"""Golden images: a machine shows that it answers as the one that made the bundle did.

A bundle carries a few synthetic images and the logits that each precision gave for them. They are
answered again by `pneumoscope doctor`, and when a model is first started on a machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import GOLDEN, Bundle
from pneumoscope.errors import BundleError
from pneumoscope.images import normalise
from pneumoscope.runtime.compiled import confirm, is_confirmed
from pneumoscope.runtime.engine import Engine

#: The largest difference of a logit between machines that is no cause for alarm. Sums are rounded
#: in another order elsewhere, and fewer bits make more of it.
TOLERANCES = {"fp32": 0.01, "bf16": 0.15, "int8": 0.15}


def measure_deviation(bundle: Bundle, engine: Engine, precision: str) -> float | None:
    """Return the largest difference between a logit of now and the recorded one.

    None where the bundle has no golden images of this precision.
    """
    if not bundle.info.has(GOLDEN):
        return None
    arrays: Mapping[str, NDArray[Any]] = bundle.arrays(GOLDEN)
    recorded = arrays.get(f"logits_{precision}")
    if recorded is None:
        return None
    answered = engine.run(normalise(arrays["squares"], bundle.info.preprocessing)).logits
    return float(np.abs(answered - recorded).max())


def confirm_golden(bundle: Bundle, engine: Engine, precision: str) -> None:
    """Check the golden images the first time that this machine runs them so.

    Raises
    ------
    BundleError
        It answers otherwise than recorded, by more than `TOLERANCES` allows.
    """
    if engine.memory is not None and is_confirmed(engine.memory):
        return
    deviation = measure_deviation(bundle, engine, precision)
    if deviation is not None and not deviation <= TOLERANCES[precision]:
        if engine.memory is not None:
            shutil.rmtree(engine.memory, ignore_errors=True)  # the next start compiles it anew
        other = "--precision fp32" if precision != "fp32" else "--engine onnxruntime"
        raise BundleError(
            f"This machine answers the golden images of {bundle.path} otherwise than recorded: a "
            f"logit differs by {deviation:.3g}, at most {TOLERANCES[precision]:g} is allowed in "
            f"{precision}; try {other}, and see `pneumoscope doctor`."
        )
    if engine.memory is not None:
        with suppress(OSError):
            confirm(engine.memory)
