"""What is forgotten is gone: rows, files, and the pages where they stood; the log still holds."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from pneumoscope.errors import RecordError
from pneumoscope.records import Image, LogEntry, Patient, Prediction, Reading, Study
from pneumoscope.records.forgetting import (
    Forgotten,
    count_older,
    find_orphans,
    forget_patient,
    forget_study,
    list_studies_of,
    retain,
    sweep,
)
from pneumoscope.records.verification import verify_record


def _count(record):
    with record.read() as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table))
            for table in (Patient, Image, Study, Prediction, Reading)
        }


def _age(record, study, days):
    moment = datetime.now(UTC) - timedelta(days=days)
    with record.begin() as session:
        session.execute(update(Study).where(Study.id == study).values(received_at=moment))


def test_a_patient_is_forgotten_and_the_others_stay(record, file):
    first = file(record, b"one", patient="anna", label="NORMAL")
    second = file(record, b"two", patient="anna")
    other = file(record, b"three", patient="bert", label="PNEUMONIA")
    assert sorted(list_studies_of(record, "anna")) == sorted([first.study, second.study])
    assert forget_patient(record, "anna") == Forgotten(2, 2, 1, 2)
    assert list(record.images.walk()) == [other.image]
    assert set(_count(record).values()) == {1}
    assert verify_record(record, images=True).problems == ()
    with record.read() as session:
        removed = set(session.scalars(select(LogEntry.subject).where(LogEntry.event == "removed")))
    assert {*first, *second} - {first.image, second.image, None} <= removed
    assert len(removed) == 6  # two studies, two answers, a reading, the patient
    with pytest.raises(RecordError, match="no patient with this key"):
        forget_patient(record, "anna")


def test_an_image_that_another_study_needs_stays(record, file):
    kept = file(record, patient="anna")
    gone = file(record, patient="bert", again=True)
    assert forget_study(record, gone.study) == Forgotten(1, 1, 0, 0)
    assert record.images.holds(kept.image)
    assert _count(record)["patients"] == 1
    assert forget_study(record, kept.study) == Forgotten(1, 1, 0, 1)
    assert set(_count(record).values()) == {0}
    with pytest.raises(RecordError, match="no such study"):
        forget_study(record, kept.study)


def test_a_patient_without_studies_is_forgotten_too(record):
    with record.begin() as session:
        session.add(Patient(id="p", key="anna"))
    assert forget_patient(record, "anna") == Forgotten()
    assert _count(record)["patients"] == 0


def test_what_waits_in_the_queue_is_forgotten_with_its_study(record, file):
    forget_study(record, file(record, decision=None).study)
    assert set(_count(record).values()) == {0}
    assert verify_record(record).problems == ()


def test_small_pictures_of_an_image_go_with_it(record, file):
    gone, kept = file(record, b"one", patient="anna"), file(record, b"two")
    previews = record.folder / "previews"
    (previews / "deep").mkdir(parents=True)
    for image in (gone.image, kept.image):
        (previews / f"{image}.jpg").touch()
        (previews / "deep" / f"{image}.png").touch()
    forget_patient(record, "anna")
    left = {path.name for path in previews.rglob("*") if path.is_file()}
    assert left == {f"{kept.image}.jpg", f"{kept.image}.png"}


def test_only_what_is_older_is_deleted(record, file, monkeypatch):
    monkeypatch.setattr("pneumoscope.records.forgetting._AT_ONCE", 2)
    filed = [file(record, b"image %d" % number, label="NORMAL") for number in range(5)]
    for number, days in enumerate((9, 11, 12, 13, 1)):
        _age(record, filed[number].study, days)
    assert count_older(record, 10) == 3
    calls = []
    done = retain(record, 10, progress=lambda *call: calls.append(call))
    assert done == Forgotten(3, 3, 3, 3)
    assert calls == [(2, 3), (3, 3)]
    assert set(record.images.walk()) == {filed[0].image, filed[4].image}
    assert verify_record(record, images=True).problems == ()
    assert retain(record, 10) == Forgotten()
    with pytest.raises(RecordError, match="1 day at least, found 0"):
        retain(record, 0)


def test_nothing_of_a_patient_lingers_in_sqlites_files(sqlite_record, file):
    secrets = ["key-of-anna-4711", "name-of-anna.png", "remark-on-anna"]
    file(sqlite_record, patient=secrets[0], name=secrets[1], label="NORMAL", reader=secrets[2])
    files = list(sqlite_record.folder.glob("record.sqlite*"))
    found = b"".join(path.read_bytes() for path in files)
    assert all(secret.encode() in found for secret in secrets)
    assert forget_patient(sqlite_record, secrets[0]).traceless
    found = b"".join(path.read_bytes() for path in files if path.exists())
    assert not any(secret.encode() in found for secret in secrets)


def test_traces_that_somebody_still_reads_are_told_of(sqlite_record, file, monkeypatch):
    monkeypatch.setattr("pneumoscope.records.forgetting._PATIENCE", 10)
    file(sqlite_record, patient="anna")
    with sqlite_record.read() as session:
        session.scalar(select(Patient.key))
        assert not forget_patient(sqlite_record, "anna").traceless
    sweep(sqlite_record)
    assert not (sqlite_record.folder / "record.sqlite-wal").stat().st_size


def test_an_image_that_came_again_meanwhile_is_kept(record, file, monkeypatch):
    """It is sent anew between the commit that deleted it and the removal of its file."""
    gone = file(record, patient="anna")
    original = record.delete_images

    def refile():
        monkeypatch.undo()
        file(record, patient="bert")
        return original()

    monkeypatch.setattr(record, "delete_images", refile)
    assert forget_patient(record, "anna").images == 0
    assert record.images.holds(gone.image)
    assert verify_record(record, images=True).problems == ()


def test_files_that_a_kill_left_are_swept(record, file):
    kept = file(record)
    orphan = record.images.put(b"never filed")
    half = record.images.find(kept.image).with_name(f".{'a' * 64}.xyz.part")
    preview = record.folder / "previews" / f"{orphan}.jpg"
    preview.parent.mkdir()
    for path in (half, preview, preview.with_name(f"{kept.image}.jpg")):
        path.touch()
    (record.images.folder / "notes.txt").touch()  # not ours to judge
    expected = {record.images.find(orphan), half, preview}
    assert set(find_orphans(record)) == expected
    assert sweep(record) == 3
    assert not any(path.exists() for path in expected)
    assert record.images.holds(kept.image)
    assert preview.with_name(f"{kept.image}.jpg").exists()
    assert sweep(record) == 0


def test_an_image_that_is_being_filed_is_not_swept(record, file):
    sent = threading.Event()
    swept: list[int] = []

    def wait_and_sweep():
        candidates = find_orphans(record)
        sent.set()
        swept.append(sweep(record, candidates))

    with record.keep_images():
        sha256 = record.images.put(b"an image")
        thread = threading.Thread(target=wait_and_sweep)
        thread.start()
        assert sent.wait(10)
        time.sleep(0.1)
        assert record.images.holds(sha256)
        with record.begin() as session:
            session.add(Image(sha256=sha256, size=8, stored_at=datetime.now(UTC)))
    thread.join(10)
    assert swept == [0]
    assert record.images.holds(sha256)


def test_writers_that_follow_each_other_do_not_keep_a_deletion_out(sqlite_record):
    """Eight writers overlap all the time, so that somebody always holds the images."""
    stop, begun = threading.Event(), threading.Barrier(9)

    def write():
        begun.wait()
        while not stop.is_set():
            with sqlite_record.keep_images():
                time.sleep(0.05)

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    begun.wait()
    time.sleep(0.3)  # until they are out of step
    deleted = threading.Event()

    def delete():
        with sqlite_record.delete_images():
            deleted.set()

    deletion = threading.Thread(target=delete)
    deletion.start()
    was_deleted = deleted.wait(5)
    stop.set()
    for thread in (*writers, deletion):
        thread.join()
    assert was_deleted
