"""Whatever an archive holds, it extracts inside its folder, or is refused and leaves nothing."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.datasets import extract_archive, open_collection
from pneumoscope.datasets.archives import is_archive, unpack_archive
from pneumoscope.errors import ArchiveError

GOOD = {"set/NORMAL/a.png": b"a" * 50, "set/PNEUMONIA/b.png": b"b" * 50}


def _zip(path: Path, files: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def _zip_entry(path: Path, name: str, kind: int, data: bytes = b"/etc/passwd") -> Path:
    """Write a zip whose second entry is of another kind, as Unix attributes say it."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("good.png", b"good")
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        file.writestr(info, data)
    return path


def _tar(path: Path, mode: str, *entries: tuple[str, bytes, str]) -> Path:
    """Write a tar of (name, type, link target)."""
    with tarfile.open(path, mode) as file:
        for name, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = 4 if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(b"data") if info.size else None)
    return path


def _list(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def _refuse(archive: Path, sentence: str) -> None:
    """Check that an archive is refused in one sentence and leaves nothing at all."""
    before = _list(archive.parent)
    with pytest.raises(ArchiveError, match=sentence) as caught:
        extract_archive(archive, archive.parent / "out")
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert _list(archive.parent) == before
    assert not (archive.parent / "out").exists()


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_zip_and_tar_extract_what_they_hold(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"set.{suffix}"
    assert is_archive(source)
    if suffix == "zip":
        _zip(source, GOOD)
    else:
        compression = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "xz": "xz"}.get(
            suffix.split(".")[-1], ""
        )
        names = [(name, tarfile.REGTYPE, "") for name in GOOD]
        _tar(source, f"w:{compression}", *names)
    calls: list[tuple[int, int]] = []
    n = extract_archive(source, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert n == 2
    assert _list(tmp_path / "out") == set(GOOD)
    assert calls[-1][0] == calls[-1][1] > 0
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_a_tar_of_a_folder_itself_extracts(tmp_path: Path) -> None:
    # `tar -cf set.tar -C folder .` begins with the entry `./`.
    archive = _tar(
        tmp_path / "set.tar",
        "w",
        ("./", tarfile.DIRTYPE, ""),
        ("./NORMAL", tarfile.DIRTYPE, ""),
        ("./NORMAL/a.png", tarfile.REGTYPE, ""),
    )
    assert extract_archive(archive, tmp_path / "out") == 1
    assert _list(tmp_path / "out") == {"NORMAL/a.png"}


HOSTILE_NAMES = [
    "../outside.png",
    "a/../../outside.png",
    "a/b/../../../outside.png",
    "..\\outside.png",
    "a\\..\\..\\outside.png",
    "/tmp/outside.png",
    "//server/share/outside.png",
    "\\\\server\\share\\outside.png",
    "C:\\outside.png",
    "C:/outside.png",
    "c:outside.png",
    "..",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_zip_cannot_name_a_place_outside(tmp_path: Path, name: str) -> None:
    _refuse(_zip(tmp_path / "evil.zip", {"good.png": b"x", name: b"evil"}), "outside its folder")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_tar_cannot_name_a_place_outside(tmp_path: Path, name: str) -> None:
    entries = [("good.png", tarfile.REGTYPE, ""), (name, tarfile.REGTYPE, "")]
    _refuse(_tar(tmp_path / "evil.tar", "w", *entries), "outside its folder")


def test_even_a_folder_cannot_lie_outside(tmp_path: Path) -> None:
    _refuse(_zip(tmp_path / "evil.zip", {"good.png": b"x", "../evil/": b""}), "outside its folder")
    _refuse(_tar(tmp_path / "evil.tar", "w", ("../evil", tarfile.DIRTYPE, "")), "outside")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_a_zip_with_a_link_or_device_is_refused(tmp_path: Path, kind: int) -> None:
    _refuse(_zip_entry(tmp_path / "evil.zip", "link.png", kind), "holds a link or device")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_a_tar_with_a_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    entries = [("good.png", tarfile.REGTYPE, ""), ("link.png", kind, "/etc/passwd")]
    _refuse(_tar(tmp_path / "evil.tar.gz", "w:gz", *entries), "holds a link or device")


def test_a_link_cannot_lead_a_later_file_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    entries = [("way", tarfile.SYMTYPE, str(outside)), ("way/evil.png", tarfile.REGTYPE, "")]
    _refuse(_tar(tmp_path / "evil.tar", "w", *entries), "holds a link")
    assert not list(outside.iterdir())


def test_a_file_that_grows_too_much_is_a_bomb(tmp_path: Path) -> None:
    bomb = _zip(
        tmp_path / "bomb.zip", {"zeros.png": bytes(2_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    _refuse(bomb, "is a bomb")
    bomb.unlink()
    tar = tmp_path / "bomb.tar.xz"
    with tarfile.open(tar, "w:xz") as file:
        info = tarfile.TarInfo("zeros.png")
        info.size = 2_000_000
        file.addfile(info, io.BytesIO(bytes(info.size)))
    _refuse(tar, "is a bomb")


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A central directory that names one compressed file many times over."""
    path = _zip(tmp_path / "bomb.zip", {"0000.png": bytes(range(256)) * 40})
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", data, end + 16)[0]
    entry = data[start:end]
    n = 5_000
    directory = b"".join(entry.replace(b"0000.png", b"%04d.png" % i) for i in range(n))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, n, n, len(directory), start, 0)
    path.write_bytes(data[:start] + directory + tail)
    _refuse(path, "damaged|is a bomb")


def test_an_archive_that_grows_too_much_as_a_whole_is_a_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _zip(tmp_path / "many.zip", {f"{i}.png": bytes([i]) * 900 for i in range(40)})
    monkeypatch.setattr("pneumoscope.datasets.archives.MAX_RATIO", 0.5)
    _refuse(path, "is a bomb")


@pytest.mark.parametrize("size", [10, 90])
def test_a_size_that_lies_is_noticed(tmp_path: Path, size: int) -> None:
    """The directory states another size than the 50 bytes that come."""
    path = _zip(tmp_path / "lie.zip", GOOD, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, size)
    path.write_bytes(data)
    _refuse(path, "damaged|truncated|larger than it says")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "secret.zip", GOOD)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    _refuse(path, "encrypted: unpack it yourself")


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    if suffix == "zip":
        _zip(path, {f"{i}.png": os.urandom(300) for i in range(5)})
    else:
        with tarfile.open(path, f"w:{suffix.removeprefix('tar').removeprefix('.')}") as file:
            for i in range(5):
                info = tarfile.TarInfo(f"{i}.png")
                info.size = 300
                file.addfile(info, io.BytesIO(os.urandom(300)))
    data = path.read_bytes()
    last = 5 * 1024 if suffix == "tar" else len(data) - 64  # what follows is padding and checksums
    for length in range(0, last, max(last // 25, 1)):
        path.write_bytes(data[:length])
        _refuse(path, "damaged|not a readable|truncated")


def test_two_files_whose_names_differ_by_case_only_are_refused(tmp_path: Path) -> None:
    _refuse(_zip(tmp_path / "twice.zip", {"A/x.png": b"1", "a/X.PNG": b"2"}), "twice")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.writestr("x.png", b"1")
        file.writestr("x.png", b"2")
    _refuse(tmp_path / "twice.zip", "twice")


@pytest.mark.parametrize(
    "files",
    [
        {"a": b"file", "a/b.png": b"below a file"},
        {"a/b.png": b"below a file", "a": b"file"},
        {f"{'n' * 300}.png": b"a name that no disk takes"},
    ],
)
def test_names_that_no_disk_takes_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    _refuse(_zip(tmp_path / "odd.zip", files), "cannot be unpacked")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for name, data in {"no.zip": b"", "page.zip": b"<html>", "no.tar.gz": b"\x1f\x8b no"}.items():
        (tmp_path / name).write_bytes(data)
        _refuse(tmp_path / name, "not a readable zip or tar|damaged")


def test_an_empty_archive_holds_no_files(tmp_path: Path) -> None:
    _refuse(_zip(tmp_path / "empty.zip", {}), "holds no files")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pneumoscope.datasets.archives.MAX_FILES", 1)
    _refuse(_zip(tmp_path / "many.zip", GOOD), "holds more than")


def test_room_is_checked_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    _refuse(_zip(tmp_path / "large.zip", GOOD), r"needs 0\.0 GB in .* 0\.0 GB are free")


def test_litter_and_kaggles_second_copy_are_left_out(tmp_path: Path) -> None:
    archive = _zip(
        tmp_path / "kaggle.zip",
        {
            "chest_xray/train/NORMAL/IM-1-1.jpeg": b"1",
            "chest_xray/train/PNEUMONIA/person1_virus_1.jpeg": b"2",
            "chest_xray/chest_xray/train/NORMAL/IM-1-1.jpeg": b"1",
            "chest_xray/chest_xray/train/PNEUMONIA/person1_virus_1.jpeg": b"2",
            "chest_xray/chest_xray/.DS_Store": b"litter",
            "chest_xray/__MACOSX/chest_xray/train/NORMAL/._IM-1-1.jpeg": b"stub",
            "chest_xray/train/.DS_Store": b"litter",
            "__MACOSX/chest_xray/._train": b"stub",
            "chest_xray/train/NORMAL/._IM-1-1.jpeg": b"stub",
        },
    )
    assert extract_archive(archive, tmp_path / "out") == 2
    assert _list(tmp_path / "out") == {
        "chest_xray/train/NORMAL/IM-1-1.jpeg",
        "chest_xray/train/PNEUMONIA/person1_virus_1.jpeg",
    }


def test_a_nested_folder_that_is_no_copy_is_kept(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "set.zip", {"a/a/x.png": b"1", "a/y.png": b"2"})
    assert extract_archive(archive, tmp_path / "out") == 2


def test_an_existing_folder_is_never_extracted_into(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "set.zip", GOOD)
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError, match="exists already"):
        extract_archive(archive, tmp_path / "out")
    assert _list(tmp_path) == {"set.zip"}


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "set.zip", GOOD)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_archive(archive, tmp_path / "out", progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["set.zip"]


def test_an_archive_is_unpacked_once_for_each_content(tmp_path: Path) -> None:
    first = unpack_archive(_zip(tmp_path / "one.zip", GOOD))
    marker = first / "set" / "seen"
    marker.touch()
    assert unpack_archive(_zip(tmp_path / "same.zip", GOOD)) == first
    assert marker.exists()
    assert unpack_archive(_zip(tmp_path / "other.zip", {"x.png": b"x"})) != first


def test_two_processes_may_unpack_the_same_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _zip(tmp_path / "raced.zip", {"raced.png": b"x"})

    def lose(archive: Path, folder: Path, **_: object) -> int:
        extract_archive(archive, folder)  # the other process
        return extract_archive(archive, folder)

    monkeypatch.setattr("pneumoscope.datasets.archives.extract_archive", lose)
    assert _list(unpack_archive(archive)) == {"raced.png"}


@pytest.mark.parametrize("inside", ["", "wrapper/", "a/"])
@pytest.mark.parametrize("below", ["", "train/"])
def test_an_archive_of_folders_is_a_collection(
    tmp_path: Path, png: Callable[[], bytes], inside: str, below: str
) -> None:
    files = {
        f"{inside}{below}{label}/{i}.png": png() for label in ("NORMAL", "PNEUMONIA") for i in "12"
    }
    found = open_collection(_zip(tmp_path / "set.zip", files))
    assert len(found.items) == 4
    assert any("was unpacked into" in note for note in found.notes)


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
    tail=st.integers(0, 40),
    compressed=st.booleans(),
    tarred=st.booleans(),
)
def test_a_mutated_archive_extracts_inside_or_is_refused(
    edits: list[tuple[int, int]], tail: int, compressed: bool, tarred: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "room"
        folder.mkdir()
        archive = folder / "set.bin"
        if tarred:
            _tar(archive, "w:gz" if compressed else "w", *((n, tarfile.REGTYPE, "") for n in GOOD))
        else:
            _zip(
                archive,
                GOOD,
                compression=zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED,
            )
        data = bytearray(archive.read_bytes())
        for position, value in edits:
            data[position % len(data)] = value
        archive.write_bytes(data[: len(data) - tail])
        try:
            n = extract_archive(archive, folder / "out")
        except ArchiveError:
            assert [p.name for p in folder.iterdir()] == ["set.bin"]
        else:
            assert len(_list(folder / "out")) == n
            assert {p.name for p in folder.iterdir()} == {"set.bin", "out"}
        assert [p.name for p in Path(name).iterdir()] == ["room"]
