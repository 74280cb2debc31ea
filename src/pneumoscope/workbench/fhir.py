"""Answers as HL7 FHIR R4: a DiagnosticReport that contains its Observation.

Its status is `preliminary` until a person has read the study: a program's answer is no diagnosis.
https://hl7.org/fhir/R4/diagnosticreport.html
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.orm import Session

from pneumoscope.records import LABELS, Patient, Prediction, Reading, Study, list_readings
from pneumoscope.runtime import CAPTION, Decision, Status

MEDIA_TYPE = "application/fhir+json"
#: Where our own identifiers and codes are defined; a name, not an address that answers.
_SYSTEM = "urn:pneumoscope"
_NOTICE = "Research use, not a diagnosis."
_LOINC, _SNOMED = "http://loinc.org", "http://snomed.info/sct"
_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_INTERPRETED = {
    Decision.PNEUMONIA.value: ("POS", "Positive"),
    Decision.NORMAL.value: ("NEG", "Negative"),
    Decision.REFER.value: ("IND", "Indeterminate"),
}


def is_wanted(accept: str) -> bool:
    """Whether an Accept header asks for FHIR."""
    return not _list_types(accept).isdisjoint({MEDIA_TYPE, "application/json+fhir"})


def wants_xml(accept: str) -> bool:
    """Whether an Accept header asks for FHIR in the form that we do not write, and no other."""
    asked = _list_types(accept)
    return "application/fhir+xml" in asked and asked.isdisjoint(
        {MEDIA_TYPE, "application/json+fhir", "application/json", "*/*"}
    )


def _list_types(accept: str) -> set[str]:
    return {part.split(";")[0].strip().lower() for part in accept.split(",")}


def encode(resource: dict[str, Any]) -> bytes:
    """Return a resource as the bytes of its JSON."""
    return json.dumps(resource).encode()


def build_report(
    session: Session, prediction: Prediction, study: Study, model: str
) -> dict[str, Any]:
    """Return a DiagnosticReport of an answer, its subject named by the sender's key.

    Parameters
    ----------
    model
        Name of the bundle.
    """
    patient = session.get(Patient, study.patient_id) if study.patient_id else None
    subject = (
        {"identifier": {"system": f"{_SYSTEM}:patient", "value": patient.key}}
        if patient
        else {"display": "unknown"}
    )
    readings = list_readings(session, study.id)
    labelled = [reading for reading in readings if reading.label in LABELS]
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": prediction.id,
        "contained": [_build_observation(prediction, study, subject, model)],
        "identifier": [{"system": f"{_SYSTEM}:prediction", "value": prediction.id}],
        "status": _find_status(prediction, labelled),
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                        "code": "RAD",
                        "display": "Radiology",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": _LOINC, "code": "30745-4", "display": "XR Chest Views"}],
            "text": "Chest radiograph, read by a program",
        },
        "subject": subject,
        "result": [{"reference": "#answer"}],
        "conclusion": _conclude(prediction, labelled),
    }
    if prediction.answered_at:
        report["issued"] = prediction.answered_at.isoformat()
    if study.taken_on:
        report["effectiveDateTime"] = study.taken_on.isoformat()
    return report


def _build_observation(
    prediction: Prediction, study: Study, subject: dict[str, Any], model: str
) -> dict[str, Any]:
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        "id": "answer",
        "status": "preliminary" if prediction.status == Status.OK else "cancelled",
        "code": {
            "coding": [{"system": _SNOMED, "code": "233604007", "display": "Pneumonia"}],
            "text": "Probability of pneumonia, by a program",
        },
        "subject": subject,
        "device": {
            "display": f"Pneumoscope, model {model}",
            "identifier": {"system": f"{_SYSTEM}:bundle", "value": prediction.bundle},
        },
        "note": [{"text": f"{prediction.message or 'Not answered yet.'} {_NOTICE}"}],
        "component": [
            _describe_number(name, getattr(prediction, name))
            for name in ("logit", "threshold", "rule_out", "rule_in")
            if getattr(prediction, name) is not None
        ],
    }
    if study.taken_on:
        observation["effectiveDateTime"] = study.taken_on.isoformat()
    if prediction.answered_at:
        observation["issued"] = prediction.answered_at.isoformat()
    if prediction.probability is None:
        observation["dataAbsentReason"] = {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
                    "code": "error" if prediction.status else "unknown",
                }
            ]
        }
    else:
        observation["valueQuantity"] = {
            "value": prediction.probability,
            "unit": "1",
            "system": "http://unitsofmeasure.org",
            "code": "1",
        }
    if prediction.decision in _INTERPRETED:
        code, display = _INTERPRETED[prediction.decision]
        coding = {"system": _INTERPRETATION, "code": code, "display": display}
        observation["interpretation"] = [{"coding": [coding], "text": prediction.decision}]
    if not observation["component"]:
        del observation["component"]
    return observation


def _describe_number(name: str, value: float) -> dict[str, Any]:
    return {
        "code": {"coding": [{"system": f"{_SYSTEM}:field", "code": name}], "text": name},
        "valueQuantity": {"value": value},
    }


def _find_status(prediction: Prediction, labelled: list[Reading]) -> str:
    if prediction.answered_at is None:
        return "registered"
    if prediction.status != Status.OK:
        return "cancelled"
    return "final" if labelled else "preliminary"


def _conclude(prediction: Prediction, labelled: list[Reading]) -> str:
    said = prediction.message or "Not answered yet."
    if labelled:
        last = labelled[-1]
        said += f" A person read it as {last.label}."
    elif prediction.decision == Decision.PNEUMONIA:
        said += f" There is an {CAPTION}."
    return f"{said} {_NOTICE}"
