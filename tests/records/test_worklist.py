"""The worklist: the most urgent first, a page at a time, found by what people type."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import event, insert, text

from pneumoscope.records import (
    Image,
    Study,
    StudyQuery,
    Urgency,
    count_studies,
    find_neighbours,
    find_study,
    list_priors,
    list_studies,
)
from pneumoscope.runtime import Decision

MANY = 10_000
DECISIONS = ("PNEUMONIA", "REFER", "NORMAL", "REJECTED")
URGENCIES = {"PNEUMONIA": Urgency.PNEUMONIA, "REFER": Urgency.REFER}


@pytest.fixture
def many(record):
    """Ten thousand studies."""
    now = datetime(2026, 11, 28, tzinfo=UTC)
    rows = [
        {
            "id": f"{number * 7919 % MANY:08d}",
            "image_sha256": "a" * 64,
            "name": f"chest_{number}.png",
            # several at one moment, as with files that were sent together
            "received_at": now + timedelta(seconds=number * 6007 % MANY // 3),
            "source": "page",
            "state": "done",
            "status": "ok",
            "decision": DECISIONS[number % 4],
            "probability": 0.5,
            "urgency": URGENCIES.get(DECISIONS[number % 4], Urgency.OTHER),
        }
        for number in range(MANY)
    ]
    with record.begin() as session:
        session.execute(
            insert(Image.__table__), [{"sha256": "a" * 64, "size": 1, "stored_at": now}]
        )
        session.execute(insert(Study.__table__), rows)
    with record.begin() as session:
        session.execute(text("ANALYZE"))
    rows.sort(key=lambda row: (row["urgency"], -row["received_at"].timestamp(), row["id"]))
    return [row["id"] for row in rows]


def test_pages_of_ten_thousand_studies_are_in_order(record, many):
    with record.read() as session:
        assert count_studies(session, StudyQuery()) == MANY
        for offset in (0, 50, 2_490, 4_990, MANY - 30):
            page = list_studies(session, StudyQuery(), offset=offset, limit=50)
            assert [row.id for row in page] == many[offset : offset + 50]
        assert list_studies(session, StudyQuery(), offset=MANY, limit=50) == []


def test_a_page_is_read_from_the_index_and_nothing_is_sorted(record, many):
    statements = []

    def note(connection, cursor, statement, parameters, context, executemany):
        statements.append((statement, parameters))

    event.listen(record.database.engine, "before_cursor_execute", note)
    with record.read() as session:
        list_studies(session, StudyQuery(), limit=50)
    event.remove(record.database.engine, "before_cursor_execute", note)
    statement, parameters = next(entry for entry in statements if "ORDER BY" in entry[0])
    explain = "EXPLAIN QUERY PLAN" if record.database.is_sqlite else "EXPLAIN"
    with record.database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    plan = "\n".join(str(row) for row in rows)
    assert "ix_studies_worklist" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_one_goes_from_study_to_study_in_the_same_order(record, many):
    with record.read() as session:
        for place in (0, 1, 2_500, 5_000, MANY - 1):
            study = find_study(session, many[place])
            assert find_neighbours(session, study, StudyQuery()) == (
                many[place - 1] if place else None,
                many[place + 1] if place + 1 < MANY else None,
            )


def test_a_decision_narrows_the_list(record, file):
    for number, decision in enumerate(Decision):
        file(record, b"image %d" % number, decision=decision)
    waiting = file(record, b"waits", decision=None)
    with record.read() as session:
        for decision in Decision:
            rows = list_studies(session, StudyQuery(decision=decision))
            assert [row.decision for row in rows] == [decision]
        rows = list_studies(session, StudyQuery(decision="WAITING"))
        assert [row.id for row in rows] == [waiting.study]
        assert count_studies(session, StudyQuery(decision="WAITING")) == 1
        assert list_studies(session, StudyQuery(decision="ERROR")) == []
        order = [row.decision for row in list_studies(session, StudyQuery())]
    assert order[:2] == ["PNEUMONIA", "REFER"]


SEARCHES = [
    ("100%", ["100%.png"]),
    ("%", ["100%.png"]),
    ("_", ["a_b.png"]),
    ("a_b", ["a_b.png"]),
    ("/", ["a/b.png"]),
    ("AXB", ["axb.png"]),
    ("PNG", ["100%.png", "a/b.png", "a_b.png", "axb.png"]),
    ("ward 7", ["axb.png"]),  # of the patient
    ("'; DROP TABLE studies; --", []),
]


@pytest.mark.parametrize(("words", "names"), SEARCHES)
def test_a_search_takes_every_character_as_it_is(record, file, words, names):
    for number, name in enumerate(["100%.png", "a_b.png", "axb.png", "a/b.png"]):
        patient = "Ward 7" if name == "axb.png" else None
        file(record, b"image %d" % number, name=name, patient=patient)
    with record.read() as session:
        found = list_studies(session, StudyQuery(text=words))
        assert sorted(row.name for row in found) == names
        assert count_studies(session, StudyQuery(text=words)) == len(names)


def test_what_nobody_has_read_is_found(record, file):
    file(record, b"read", label="NORMAL")
    unread = file(record, b"unread")
    with record.read() as session:
        rows = list_studies(session, StudyQuery(unread=True))
        assert [(row.id, row.readings) for row in rows] == [(unread.study, 0)]


def test_priors_are_the_other_studies_of_the_patient_the_latest_first(record, file):
    filed = [
        file(record, b"image %d" % number, patient="anna", taken_on=date(2026, month, 1))
        for number, month in enumerate((3, 1, 2))
    ]
    other, nobody = file(record, b"other", patient="bert"), file(record, b"nobody")
    with record.read() as session:
        priors = list_priors(session, find_study(session, filed[0].study))
        assert [row.id for row in priors] == [filed[2].study, filed[1].study]
        for alone in (other, nobody):
            assert list_priors(session, find_study(session, alone.study)) == []
        assert find_study(session, "none") is None
