"""The chain: whatever is done to its entries is seen, in the chain itself or beside its head."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from pneumoscope.records.log import ORIGIN, Head, HeadFile, append_entry, commit_to, find_breaks
from pneumoscope.records.record import Record
from pneumoscope.records.tables import LogEntry
from pneumoscope.records.verification import verify_record

_WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
_ENTRY = st.tuples(_WORD, st.none() | _WORD, st.none() | _WORD)
_QUICK = settings(
    max_examples=10,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # each example writes to the disk: too slow to shrink
)


def _find_all(record):
    with record.read() as session:
        return [*record.head.find_breaks(session), *find_breaks(session)]


def _swap(session, one, other):
    """Exchange the places of two entries."""
    for before, after in ((one, -1), (other, one), (-1, other)):
        session.execute(
            text("UPDATE log SET seq = :after WHERE seq = :before"),
            {"before": before, "after": after},
        )


@given(st.lists(_ENTRY, min_size=2, max_size=8), st.data())
@_QUICK
def test_every_change_of_a_chain_is_seen(entries, data):
    with tempfile.TemporaryDirectory() as folder, Record(Path(folder)) as record:
        for entry in entries:
            with record.begin() as session:
                append_entry(session, *entry)
        assert _find_all(record) == []
        assert record.head.read().seq == len(entries)
        place = data.draw(st.integers(1, len(entries)))
        other = data.draw(st.integers(1, len(entries)).filter(lambda n: n != place))
        column = data.draw(
            st.sampled_from(["event", "subject", "digest", "at", "previous", "hash"])
        )
        for change in (
            lambda s: s.execute(text(f"UPDATE log SET {column} = 'else' WHERE seq = {place}")),
            lambda s: s.execute(text(f"DELETE FROM log WHERE seq = {place}")),
            lambda s: s.execute(text(f"DELETE FROM log WHERE seq >= {place}")),
            lambda s: s.execute(text(f"UPDATE log SET seq = 99 WHERE seq = {place}")),
            lambda s: _swap(s, place, other),
        ):
            with record.database.read() as session:  # undone below, for the next change
                change(session)
                found = [*record.head.find_breaks(session), *find_breaks(session)]
                session.rollback()
            assert found
        assert _find_all(record) == []


@given(_WORD, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_a_commitment_says_nothing_without_its_salt(word, salt, other):
    facts = {"word": word, "number": 0.1}
    assert commit_to(facts, salt) == commit_to(dict(reversed(facts.items())), salt)
    assert (commit_to(facts, salt) == commit_to(facts, other)) == (salt == other)


def test_a_late_head_does_not_replace_a_newer_one(tmp_path):
    head = HeadFile(tmp_path / "head.json")
    assert head.read() is None
    for known in (Head(2, "b" * 64), Head(1, "a" * 64)):
        head.advance(known)
    assert head.read() == Head(2, "b" * 64)


def test_a_new_record_has_a_head_from_the_start(tmp_path):
    with Record(tmp_path) as record:
        assert record.head.read() == Head(0, ORIGIN)
    with Record(tmp_path) as record:
        assert _find_all(record) == []


def test_what_is_undone_is_not_logged(record):
    def log_and_fail():
        with record.begin() as session:
            append_entry(session, "something")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        log_and_fail()
    assert _find_all(record) == []
    assert record.head.read().seq == 0


def test_a_head_elsewhere_begins_beside_a_log_that_fits_and_sees_a_cut_tail(tmp_path):
    outside = tmp_path / "elsewhere" / "head.json"
    with Record(tmp_path / "record") as record:
        record.write(lambda session: append_entry(session, "one"))
    with Record(tmp_path / "record", head=outside) as record:
        assert HeadFile(outside).read() == record.head.read()
        record.write(lambda session: append_entry(session, "two"))
        assert HeadFile(outside).read().seq == 2
        with record.database.begin() as session:
            session.execute(delete(LogEntry).where(LogEntry.seq == 2))
        record.head.path.unlink()  # whoever cuts the tail can change what lies beside it
        found = verify_record(record, log_head=outside).problems
    assert any("cut off" in problem for problem in found)


def test_what_was_committed_stands_where_the_head_cannot_be_written(tmp_path, monkeypatch, caplog):
    with Record(tmp_path / "record") as record:

        def fail(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(HeadFile, "advance", fail)
            record.write(lambda session: append_entry(session, "one"))
        assert "cannot be written" in caplog.text
        record.write(lambda session: append_entry(session, "two"))
        assert record.head.read().seq == 2
        assert verify_record(record).problems == ()
