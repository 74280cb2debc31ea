"""What codes are called in front of people."""

from __future__ import annotations

from pneumoscope.records import State, StudyRow
from pneumoscope.runtime import Decision, Status, WarningCode

NOTICE = "Research use, not a diagnosis"

_POINTS = {
    "rule_out": "rule out",
    "balanced": "balanced",
    "rule_in": "rule in",
}
#: Shape and word beside every colour, so that none of them is needed.
MARKS = {
    Decision.PNEUMONIA: "▲",
    Decision.REFER: "◆",
    Decision.NORMAL: "○",
    Decision.REJECTED: "✕",
}


def explain_warning(code: str) -> str:
    """Return a warning in a sentence."""
    return WarningCode(code).sentence


def name_point(name: str) -> str:
    """Return what an operating point is called."""
    return _POINTS.get(name, name.replace("_", " "))


def name_outcome(study: StudyRow) -> str:
    """Return the decision, or what there is instead of one, in a word."""
    if study.state != State.DONE:
        return "WAITING" if study.state == State.QUEUED else "IN WORK"
    if study.status == Status.ERROR:
        return "UNREADABLE"
    return study.decision or "NO ANSWER"


def mark_outcome(study: StudyRow) -> str:
    """Return the sign beside the word."""
    if study.state != State.DONE:
        return "…"
    return MARKS[Decision(study.decision)] if study.decision else "!"
