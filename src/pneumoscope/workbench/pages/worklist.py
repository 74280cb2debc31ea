"""The worklist: every study, the most urgent first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from pneumoscope.records import StudyQuery, count_studies, list_studies
from pneumoscope.workbench.dependencies import get_service
from pneumoscope.workbench.pages.layout import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

PAGE = 50
#: What can be looked at alone: value in the address → name for people.
_FILTERS = {
    "": "All",
    "PNEUMONIA": "Pneumonia",
    "REFER": "Refer",
    "NORMAL": "Normal",
    "REJECTED": "Rejected",
    "ERROR": "Unreadable",
    "WAITING": "Waiting",
}


@dataclass(frozen=True)
class Selection:
    """Which studies somebody looks at, as it stands in the address."""

    decision: str = ""
    text: str = ""
    unread: bool = False

    def to_query(self) -> StudyQuery:
        """Return it as the record understands it."""
        return StudyQuery(decision=self.decision or None, text=self.text, unread=self.unread)

    def to_address(self, **changes: Any) -> dict[str, Any]:
        """Return it as parts of an address, with changes; what is empty may be left out."""
        parts = {"decision": self.decision, "text": self.text, "unread": int(self.unread)}
        return parts | changes


def read_selection(
    decision: str = "",
    text: Annotated[str, Query(max_length=256)] = "",
    unread: bool = False,
) -> Selection:
    """Return what an address selects; an unknown decision selects all."""
    return Selection(decision if decision in _FILTERS else "", text.strip(), unread)


Selected = Annotated[Selection, Depends(read_selection)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


@router.get("/")
def show_worklist(request: Request, selection: Selected, offset: Offset = 0) -> HTMLResponse:
    """Return the worklist."""
    return render(request, "worklist.html", **_look(request, selection, offset))


@router.get("/worklist/rows")
def show_rows(request: Request, selection: Selected, offset: Offset = 0) -> HTMLResponse:
    """Return the part of the worklist that changes when answers arrive."""
    return render(request, "worklist_rows.html", **_look(request, selection, offset))


def _look(request: Request, selection: Selection, offset: int) -> dict[str, Any]:
    query = selection.to_query()
    with get_service(request).record.read() as session:
        counts = {
            name: count_studies(session, replace(query, decision=name or None)) for name in _FILTERS
        }
        total = counts[selection.decision]
        offset = min(offset, max(0, (total - 1) // PAGE * PAGE))
        studies = list_studies(session, query, offset=offset, limit=PAGE)
    return {
        "studies": studies,
        "selection": selection,
        "filters": [(name, title, counts[name]) for name, title in _FILTERS.items()],
        "total": total,
        "offset": offset,
        "page": PAGE,
    }
