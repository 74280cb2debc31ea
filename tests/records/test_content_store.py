"""Files by their hash: kept once, whole or not at all, and never by a name from outside."""

from __future__ import annotations

import hashlib

import pytest

from pneumoscope.errors import RecordError
from pneumoscope.records.content_store import ContentStore


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return ContentStore(tmp_path / "images")


def test_the_same_bytes_are_kept_once(store):
    first, second = store.put(b"an image"), store.put(b"an image")
    assert first == second == hashlib.sha256(b"an image").hexdigest()
    assert list(store.walk()) == [first]
    assert store.get(first) == b"an image"
    store.remove(first)
    store.remove(first)
    assert list(store.walk()) == []
    with pytest.raises(RecordError, match="is not in the store"):
        store.get(first)


def test_a_file_of_the_wrong_length_is_written_anew(store):
    sha256 = store.put(b"an image")
    store.find(sha256).write_bytes(b"an im")
    assert not store.holds(sha256)
    with pytest.raises(RecordError, match="was changed on the disk"):
        store.get(sha256)
    store.put(b"an image")
    assert store.holds(sha256)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_no_other_name_reaches_the_disk(store, name):
    for use in (store.find, store.get, store.holds, store.remove):
        with pytest.raises(RecordError, match="64 hexadecimal digits"):
            use(name)


def test_a_write_that_fails_leaves_nothing(store, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pneumoscope._files.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        store.put(b"an image")
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []
