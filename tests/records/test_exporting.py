"""What people said comes out as labelled images that the other commands take as they are."""

from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from pneumoscope.datasets import build_manifest, open_collection
from pneumoscope.errors import RecordError
from pneumoscope.records import Verdict, add_reading, export_readings, write_readings_zip
from pneumoscope.records.forgetting import forget_study


def _draw(seed, suffix="PNG"):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48), np.uint8)
    Image.fromarray(pixels).save(stream, suffix)
    return stream.getvalue()


@pytest.fixture
def labelled(record, file):
    """Four labelled images, one that nobody read, one that was only remarked on."""
    filed = [
        file(record, _draw(1, "PNG"), label="NORMAL", patient="anna-4711"),
        file(record, _draw(2, "JPEG"), label="PNEUMONIA", patient="anna-4711"),
        file(record, _draw(3, "TIFF"), label="PNEUMONIA"),
        file(record, _draw(6, "PNG"), label="NORMAL"),
    ]
    file(record, _draw(4))
    remarked = file(record, _draw(5))
    with record.begin() as session:
        add_reading(session, remarked.study, "r", Verdict.COMMENT, comment="blurred")
    return filed


def test_an_export_is_read_as_a_collection(record, labelled, tmp_path):
    calls = []
    done = export_readings(record, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert (done.images, done.left_out) == (4, ())
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for place in (tmp_path / "out", tmp_path / "out" / "manifest.csv"):
        manifest = build_manifest(open_collection(place), jobs=1)
        assert manifest.excluded == ()
        by_hash = {row["sha256"]: row for row in manifest.frame.iter_rows(named=True)}
        assert [by_hash[filed.image]["label"] for filed in labelled] == [
            "NORMAL", "PNEUMONIA", "PNEUMONIA", "NORMAL",
        ]  # fmt: skip
        first, second, third, _ = (by_hash[filed.image]["patient"] for filed in labelled)
        assert first == second
        assert third is None
    suffixes = {path.suffix for path in (tmp_path / "out" / "images").iterdir()}
    assert suffixes == {".png", ".jpg", ".tif"}


def test_an_export_does_not_hold_the_patients_key(record, labelled, tmp_path):
    export_readings(record, tmp_path / "out")
    text = (tmp_path / "out" / "manifest.csv").read_text()
    assert "anna" not in text
    assert text.splitlines()[0] == "path,label,patient,study,reader,read_at"
    assert all(filed.study in text for filed in labelled)


def test_the_label_that_was_given_last_counts(record, file, tmp_path):
    """Also where one image has two studies, which would be two labels of one image."""
    first = file(record, label="NORMAL", reader="first")
    with record.begin() as session:
        add_reading(session, first.study, "second", Verdict.AGREE)
    file(record, again=True, label="NORMAL", reader='third, "the" last')
    export_readings(record, tmp_path / "out")
    with (tmp_path / "out" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["reader"]) for row in rows] == [("NORMAL", 'third, "the" last')]


def test_a_zip_holds_the_same_and_is_written_as_a_stream(record, labelled, tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.data += data
            return len(data)

    pipe = Pipe()
    assert write_readings_zip(record, pipe).images == 4
    with zipfile.ZipFile(io.BytesIO(pipe.data)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "zip")
    export_readings(record, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        other = tmp_path / "zip" / path.relative_to(tmp_path / "out")
        assert path.is_dir() or other.read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "zip").rglob("*.*"))) == 5


def test_images_that_cannot_be_had_are_left_out_and_told(record, labelled, tmp_path):
    record.images.find(labelled[0].image).unlink()
    forget_study(record, labelled[1].study)
    done = export_readings(record, tmp_path / "out")
    assert done.images == 2
    assert done.left_out == (f"The image {labelled[0].image[:12]}… is not in the store.",)
    text = (tmp_path / "out" / "manifest.csv").read_text()
    assert len(text.splitlines()) == 3


def test_without_labels_there_is_nothing_to_export(record, file, tmp_path):
    file(record)
    with pytest.raises(RecordError, match="No reading gives a label yet"):
        export_readings(record, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    stream = io.BytesIO()
    assert write_readings_zip(record, stream).images == 0
    assert zipfile.ZipFile(stream).namelist() == ["manifest.csv"]


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"\0" * 128 + b"DICM", ".dcm"),
        (b"MM\0*", ".tif"),
        (b"RIFF\0\0\0\0WEBP", ".webp"),
        (b"BM\0\0", ".bmp"),
        (b"something", ""),
    ],
)
def test_a_name_ends_as_its_content_says(sqlite_record, file, tmp_path, data, suffix):
    filed = file(sqlite_record, data, label="NORMAL", name="chest.exe")
    export_readings(sqlite_record, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == [filed.image + suffix]
