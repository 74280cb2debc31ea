"""From the numbers of a forward pass to a finding: gate, population, calibration, decision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pneumoscope._probability import format_probability
from pneumoscope.bundle import Bundle, Calibration, OperatingPointInfo
from pneumoscope.errors import PneumoscopeError
from pneumoscope.images import Radiograph
from pneumoscope.runtime.engine import Outputs
from pneumoscope.runtime.finding import (
    REFERRAL_BAND,
    Decision,
    Finding,
    Status,
    WarningCode,
    decide_by_band,
)
from pneumoscope.runtime.gate import InputGate
from pneumoscope.runtime.inputs import measure_inputs
from pneumoscope.runtime.population import PopulationCheck, check_age


class Objection(NamedTuple):
    """What speaks against answering an image."""

    reason: str | None
    """Why the input gate rejects it, in a sentence; None where it passes."""
    strangeness: str | None
    """Why the model was not made for these people, in half a sentence; None where it may be."""

    @property
    def outside_population(self) -> bool:
        """Whether the answer is REFER, whatever the probability."""
        return self.strangeness is not None


class Judge:
    """Decides about forward passes of one precision of a bundle.

    Without a named operating point the referral band decides: NORMAL below `rule_out`, PNEUMONIA
    from `rule_in` on, REFER between.

    Parameters
    ----------
    calibration, points
        Those of the precision in use.
    operating_point
        A name among `points`, for a decision between two; None for the referral band.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        calibration: Calibration,
        points: dict[str, OperatingPointInfo],
        operating_point: str | None,
    ) -> None:
        if operating_point not in {None, REFERRAL_BAND, *points}:
            raise PneumoscopeError(
                f"The bundle has no operating point {operating_point!r}: it has "
                f"{', '.join(points)}."
            )
        info = bundle.info
        band = {"rule_out", "rule_in"} <= points.keys()
        self.operating_point = operating_point or (REFERRAL_BAND if band else info.decides)
        named = info.decides if self.operating_point == REFERRAL_BAND else self.operating_point
        self.threshold = points[named].threshold
        self.rule_out = points["rule_out"].threshold if band else None
        self.rule_in = points["rule_in"].threshold if band else None
        self.warnings = _list_warnings(bundle)
        self._calibration = calibration
        self._facts: dict[str, Any] = {
            "operating_point": self.operating_point,
            "threshold": self.threshold,
            "rule_out": self.rule_out,
            "rule_in": self.rule_in,
            "precision": precision,
            "bundle": bundle.sha256,
        }
        self._ages = info.card.ages if info.card else None
        self._geometry = info.preprocessing.geometry
        arrays = bundle.reference()
        self._gate = InputGate.from_reference(arrays)
        self._population = PopulationCheck.from_reference(arrays)

    def calibrate(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities, 0..1, of logits."""
        return self._calibration.apply(logits)

    def examine(
        self, radiograph: Radiograph, square: NDArray[np.uint8], features: NDArray[np.float32]
    ) -> Objection:
        """Return what speaks against answering an image, whatever the answer would be."""
        reason = self._gate.check(radiograph, square, features)
        strangeness = check_age(radiograph, self._ages)
        if strangeness is None and self._population and self._population.is_outside(square):
            strangeness = "the image looks unlike the population that the model was trained on"
        return Objection(reason, strangeness)

    def judge(
        self, radiograph: Radiograph, square: NDArray[np.uint8], outputs: Outputs, row: int
    ) -> Finding:
        """Return the finding on one image of a batch.

        Parameters
        ----------
        square
            The radiograph as the network saw it, uint8 [size, size].
        row
            Its place in `outputs`.
        """
        if not np.isfinite(outputs.logits[row]):
            return self.report_error(
                radiograph.source,
                f"{radiograph.source} was not answered: the network gave no finite number; see "
                "`pneumoscope doctor`.",
            )
        objection = self.examine(radiograph, square, outputs.features[row])
        measured = measure_inputs(square[None], outputs.features[row][None], self._gate)
        inputs = {name: float(values[0]) for name, values in measured.items()}
        if objection.reason is not None:
            return Finding(
                path=radiograph.source,
                sha256=radiograph.sha256,
                status=Status.REJECTED,
                decision=Decision.REJECTED,
                warnings=self.warnings,
                message=objection.reason,
                inputs=inputs,
                **self._facts,
            )
        logit = outputs.logits[row]
        probability = float(self.calibrate(logit))
        decision, why = self._decide(probability)
        warnings = self.warnings
        if objection.strangeness is not None:
            decision, why = Decision.REFER, objection.strangeness
            warnings = (*warnings, WarningCode.OUTSIDE_POPULATION)
        return Finding(
            path=radiograph.source,
            sha256=radiograph.sha256,
            status=Status.OK,
            decision=decision,
            probability=probability,
            logit=float(logit),
            warnings=warnings,
            message=f"{decision.value}: probability {format_probability(probability)}, {why}.",
            activation_map=outputs.activation_maps[row],
            geometry=self._geometry,
            inputs=inputs,
            **self._facts,
        )

    def report_error(self, path: str, message: str) -> Finding:
        """Return the finding on an image that could not be read."""
        return Finding(path=path, status=Status.ERROR, message=message, **self._facts)

    def _decide(self, probability: float) -> tuple[Decision, str]:
        """Return the decision at a probability, and its reason in words."""
        if self.operating_point != REFERRAL_BAND:
            called = probability >= self.threshold
            side = "at or above" if called else "below"
            threshold = f"{format_probability(self.threshold)} ({self.operating_point})"
            decision = Decision.PNEUMONIA if called else Decision.NORMAL
            return decision, f"{side} the threshold {threshold}"
        assert self.rule_out is not None
        assert self.rule_in is not None
        decision = Decision(str(decide_by_band(probability, self.rule_out, self.rule_in)))
        low, high = format_probability(self.rule_out), format_probability(self.rule_in)
        between = f"between {low} (rule_out) and {high} (rule_in): a person must look"
        reasons = {
            Decision.NORMAL: f"below {low} (rule_out)",
            Decision.PNEUMONIA: f"at or above {high} (rule_in)",
        }
        return decision, reasons.get(decision, between)


def _list_warnings(bundle: Bundle) -> tuple[WarningCode, ...]:
    data = bundle.info.data
    warnings = [WarningCode.PHANTOM_MODEL] if data.phantom else []
    if data.contaminated:
        warnings.append(WarningCode.CONTAMINATED_MODEL)
    return tuple(warnings)
