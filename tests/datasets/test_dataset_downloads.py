"""Fetching, proved against a server on this machine that fails in every way a server can."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import requests
from typer.testing import CliRunner

from pneumoscope._files import hash_bytes, hash_file
from pneumoscope.cli import app
from pneumoscope.datasets import download, fetch_archive, fetch_kaggle
from pneumoscope.datasets.download import Address, download_file
from pneumoscope.errors import ArchiveError, DataError, DownloadError

PIECE = download._PIECE
WAYS = ("--archive FILE.zip", "a folder of your own", "data phantom")


@dataclass
class Server:
    """A file behind an address, and what goes wrong on the way."""

    data: bytes
    etag: str | None = '"one"'
    cut_after: list[int] = field(default_factory=list)
    """For each request in turn, after how many bytes the connection breaks."""
    statuses: list[int] = field(default_factory=list)
    """For each request in turn, what is answered instead of the file."""
    ranges: bool = True
    checks_if_range: bool = True
    states_length: bool = True
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def change(self, data: bytes, etag: str) -> None:
        self.data, self.etag = data, etag


class _Handler(BaseHTTPRequestHandler):
    world: Server

    def do_GET(self) -> None:
        world = self.world
        headers = {name.lower(): value for name, value in self.headers.items()}
        world.asked.append(headers)
        if world.statuses:
            self.send_error(world.statuses.pop(0))
            return
        start = 0
        wanted = headers.get("range")
        same = not world.checks_if_range or headers.get("if-range") == world.etag
        if wanted and world.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(world.data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {start}-{len(world.data) - 1}/{len(world.data)}"
            )
        else:
            self.send_response(200)
        body = world.data[start:]
        if world.states_length:
            self.send_header("Content-Length", str(len(body)))
        if world.etag:
            self.send_header("ETag", world.etag)
        self.end_headers()
        cut = world.cut_after.pop(0) if world.cut_after else len(body)
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a function that serves a file on this machine until the test ends."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(data: bytes, **conduct: object) -> Server:
        world = Server(data, **conduct)
        handler = type("Handler", (_Handler,), {"world": world})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        world.url = f"http://127.0.0.1:{server.server_port}/set.zip"
        return world

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def kaggle_zip(tmp_path: Path, png: Callable[[], bytes]) -> bytes:
    """The bytes of an archive as Kaggle serves it: nested twice, with litter."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for label, name in (("NORMAL", "IM-0001-0001"), ("PNEUMONIA", "person1_virus_1")):
            for split in ("train", "test"):
                data = png()
                file.writestr(f"chest_xray/{split}/{label}/{name}.jpeg", data)
                file.writestr(f"chest_xray/chest_xray/{split}/{label}/{name}.jpeg", data)
                file.writestr(f"chest_xray/__MACOSX/{split}/{label}/._{name}.jpeg", b"stub")
    return stream.getvalue()


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small tests pass the check for the room that a large set needs."""
    monkeypatch.setattr(download, "_ROOM", 1)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch, roomy: None) -> Callable[[object], None]:
    """Return a function that says what Kaggle's client gives: an address, or an error."""
    pytest.importorskip("kagglesdk")

    def answer(what: object) -> None:
        class Client:
            def __enter__(self) -> Client:
                return self

            def __exit__(self, *_: object) -> None: ...

            @property
            def datasets(self) -> Client:
                return self

            @property
            def dataset_api_client(self) -> Client:
                return self

            def download_dataset(self, request: object) -> requests.Response:
                assert request.owner_slug == "paultimothymooney"
                assert request.dataset_slug == "chest-xray-pneumonia"
                if isinstance(what, BaseException):
                    raise what
                response = requests.Response()
                response.status_code, response.url = 200, str(what)
                response.raw = io.BytesIO()
                response.request = requests.Request(
                    "GET", str(what), headers={"authorization": "Bearer secret", "x-other": "no"}
                ).prepare()
                return response

        class Api:
            def authenticate(self) -> None:
                print("chatter that nobody should see")
                if isinstance(what, SystemExit):
                    raise what

            def build_kaggle_client(self) -> Client:
                return Client()

        # The real client signs in when it is imported; it is never imported here.
        for name in ("kaggle", "kaggle.api", "kaggle.api.kaggle_api_extended"):
            module = ModuleType(name)
            module.__spec__ = ModuleSpec(name, None)
            module.__path__, module.KaggleApi = [], Api
            monkeypatch.setitem(sys.modules, name, module)

    return answer


def _list(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


# -- one file ------------------------------------------------------------------------------------


def test_a_download_gives_the_file_and_nothing_else(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(os.urandom(3_000_000))
    calls: list[tuple[int, int]] = []
    download_file(
        lambda: Address(world.url, {"authorization": "Bearer secret"}),
        tmp_path / "new" / "set.zip",
        progress=lambda *call: calls.append(call),
    )
    assert (tmp_path / "new" / "set.zip").read_bytes() == world.data
    assert _list(tmp_path) == {"new/set.zip"}
    assert calls[-1] == (3_000_000, 3_000_000)
    assert world.asked[0]["authorization"] == "Bearer secret"
    assert world.asked[0]["accept-encoding"] == "identity"  # offsets count the file's own bytes


def test_a_download_that_breaks_goes_on_where_it_stopped(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(os.urandom(2_000_000), cut_after=[16 * PIECE, 4 * PIECE + 99, 0])
    addresses: list[str] = []

    def ask() -> Address:
        addresses.append(world.url)
        return Address(world.url)

    download_file(ask, tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == world.data
    assert [headers.get("range") for headers in world.asked] == [
        None,
        f"bytes={16 * PIECE}-",
        f"bytes={20 * PIECE}-",
        f"bytes={20 * PIECE}-",
    ]
    assert {headers.get("if-range") for headers in world.asked[1:]} == {'"one"'}
    assert len(addresses) == 4  # signed addresses expire: each attempt asks anew
    assert _list(tmp_path) == {"set.zip"}


def test_a_later_call_goes_on_where_the_last_stopped(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(os.urandom(1_000_000), cut_after=[8 * PIECE, *[0] * 5])
    with pytest.raises(DownloadError, match=f"{8 * PIECE} bytes are kept: run it again") as caught:
        download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert all(way in str(caught.value) for way in WAYS)
    assert not (tmp_path / "set.zip").exists()
    download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert world.asked[-1]["range"] == f"bytes={8 * PIECE}-"
    assert (tmp_path / "set.zip").read_bytes() == world.data


@pytest.mark.parametrize("checks", [True, False])
def test_a_file_that_changed_meanwhile_starts_anew(
    tmp_path: Path, serve: Callable[..., Server], checks: bool
) -> None:
    # A careless server sends the rest of the new file for the start of the old one.
    world = serve(os.urandom(1_000_000), cut_after=[500_000], checks_if_range=checks)
    changed = os.urandom(900_000)
    asked = 0

    def ask() -> Address:
        nonlocal asked
        asked += 1
        if asked == 2:
            world.change(changed, '"two"')
        return Address(world.url)

    download_file(ask, tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == changed


def test_a_server_without_ranges_sends_all_of_it_again(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(os.urandom(500_000), cut_after=[200_000], ranges=False)
    download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == world.data


def test_a_file_that_cannot_be_told_apart_starts_anew(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(os.urandom(500_000), etag=None, cut_after=[200_000])
    download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == world.data
    assert "range" not in world.asked[1]


def test_a_kill_before_the_last_rename_is_mended(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(os.urandom(100_000))
    (tmp_path / "set.zip.part").write_bytes(world.data)  # all came, then the power went
    (tmp_path / "set.zip.part.json").write_text(json.dumps({"validator": '"one"', "total": 1}))
    download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == world.data


@pytest.mark.parametrize("record", ["", "[1]", "\x00", '{"validator": null}'])
def test_a_damaged_record_of_the_part_starts_anew(
    tmp_path: Path, serve: Callable[..., Server], record: str
) -> None:
    world = serve(os.urandom(100_000))
    (tmp_path / "set.zip.part").write_bytes(b"something")
    (tmp_path / "set.zip.part.json").write_text(record)
    download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == world.data


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_said_at_once_with_the_ways_left(
    tmp_path: Path, serve: Callable[..., Server], status: int
) -> None:
    world = serve(b"", statuses=[status] * 9)
    with pytest.raises(DownloadError, match=rf"refused \(HTTP {status}\)") as caught:
        download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert all(way in str(caught.value) for way in WAYS)
    assert "\n" not in str(caught.value)
    assert len(world.asked) == 1
    assert not (tmp_path / "set.zip").exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(
    tmp_path: Path, serve: Callable[..., Server], status: int
) -> None:
    world = serve(b"data", statuses=[status, status])
    download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == b"data"


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="0 bytes are kept: run it again"):
        download_file(lambda: Address("http://127.0.0.1:9/set.zip"), tmp_path / "x.zip", pause=0)


def test_a_full_disk_is_said_at_once(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world = serve(b"data")
    monkeypatch.setattr(download, "write_atomically", fail)
    with pytest.raises(DownloadError, match="disk is full: free some room"):
        download_file(lambda: Address(world.url), tmp_path / "set.zip", pause=0)
    assert len(world.asked) == 1


# -- the set -------------------------------------------------------------------------------------


def test_fetching_downloads_unpacks_and_records(
    tmp_path: Path,
    serve: Callable[..., Server],
    sign_in: Callable[[object], None],
    kaggle_zip: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = serve(kaggle_zip, cut_after=[len(kaggle_zip) // 2])
    sign_in(world.url)
    folder = fetch_kaggle(tmp_path / "data")
    assert folder == tmp_path / "data" / "chest_xray" / "chest_xray"
    assert len(_list(folder)) == 4  # neither the second copy nor the litter
    record = json.loads((tmp_path / "data" / "chest_xray.json").read_text())
    assert record["sha256"] == hash_bytes(kaggle_zip)
    assert record["bytes"] == len(kaggle_zip)
    assert "CC BY 4.0" in record["licence"]
    assert {headers["authorization"] for headers in world.asked} == {"Bearer secret"}
    assert not any("x-other" in headers for headers in world.asked)
    assert capsys.readouterr() == ("", "")
    assert fetch_kaggle(tmp_path / "data") == folder
    assert len(world.asked) == 2  # the second call asks nobody


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (SystemExit(1), "Kaggle wants a token"),
        (requests.ConnectionError("no route"), "Kaggle cannot be reached: go online"),
        (requests.Timeout(), "Kaggle cannot be reached: go online"),
        (ValueError("Unauthorized: you must download an API key"), "Kaggle cannot be reached"),
        (401, r"Kaggle refuses \(HTTP 401\): check the token"),
        (403, r"Kaggle refuses \(HTTP 403\): check the token"),
        (404, r"Kaggle refuses \(HTTP 404\)"),
    ],
)
def test_offline_or_unauthorised_names_the_ways_left(
    tmp_path: Path, sign_in: Callable[[object], None], failure: object, sentence: str
) -> None:
    if isinstance(failure, int):
        response = requests.Response()
        response.status_code = failure
        failure = requests.HTTPError(response=response)
    sign_in(failure)
    with pytest.raises(DownloadError, match=sentence) as caught:
        fetch_kaggle(tmp_path)
    assert all(way in str(caught.value) for way in WAYS)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert not _list(tmp_path)


def test_a_sign_in_page_instead_of_the_archive_does_not_stay(
    tmp_path: Path,
    serve: Callable[..., Server],
    sign_in: Callable[[object], None],
    kaggle_zip: bytes,
) -> None:
    world = serve(b"<html>Welcome to our hotel</html>")
    sign_in(world.url)
    with pytest.raises(DownloadError, match="is no archive: check whether a proxy"):
        fetch_kaggle(tmp_path)
    assert not _list(tmp_path)
    world.change(kaggle_zip, '"two"')
    assert (fetch_kaggle(tmp_path) / "train").is_dir()


def test_room_is_checked_before_anything_is_asked(
    tmp_path: Path, sign_in: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(AssertionError("nobody should be asked"))
    monkeypatch.setattr(download, "_ROOM", 2**60)
    with pytest.raises(DataError, match=r"GB free, the archive and its images need .* choose an"):
        fetch_kaggle(tmp_path / "not" / "there")
    assert not list(tmp_path.iterdir())


def test_an_archive_from_a_browser_is_unpacked(tmp_path: Path, kaggle_zip: bytes) -> None:
    (tmp_path / "archive.zip").write_bytes(kaggle_zip)
    result = CliRunner().invoke(
        app,
        [
            *("data", "fetch", "--archive", str(tmp_path / "archive.zip")),
            *("--out", str(tmp_path / "data"), "--quiet"),
        ],
    )
    assert result.exit_code == 0, result.output
    folder = tmp_path / "data" / "chest_xray" / "chest_xray"
    assert f"pneumoscope data reorganize {folder}" in result.output
    assert len(_list(folder)) == 4
    record = json.loads((tmp_path / "data" / "chest_xray.json").read_text())
    assert record["sha256"] == hash_file(tmp_path / "archive.zip")
    # Once more, the same: nothing to do.
    assert fetch_archive(tmp_path / "archive.zip", tmp_path / "data") == folder


def test_a_missing_archive_names_the_ways_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no archive .*none\.zip") as caught:
        fetch_archive(tmp_path / "none.zip", tmp_path)
    assert all(way in str(caught.value) for way in WAYS)


def test_another_archive_does_not_replace_what_is_there(tmp_path: Path, kaggle_zip: bytes) -> None:
    (tmp_path / "one.zip").write_bytes(kaggle_zip)
    folder = fetch_archive(tmp_path / "one.zip", tmp_path / "data")
    (tmp_path / "two.zip").write_bytes(kaggle_zip + b"\0")
    with pytest.raises(DataError, match="exists already and was not made from this archive"):
        fetch_archive(tmp_path / "two.zip", tmp_path / "data")
    assert len(_list(folder)) == 4


def test_a_folder_of_unknown_origin_is_not_taken_for_the_set(
    tmp_path: Path, sign_in: Callable[[object], None], kaggle_zip: bytes
) -> None:
    sign_in(AssertionError("nobody should be asked"))
    (tmp_path / "chest_xray" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="use it as it is, choose another --out"):
        fetch_kaggle(tmp_path)
    (tmp_path / "one.zip").write_bytes(kaggle_zip)
    with pytest.raises(DataError, match="use it as it is, choose another --out"):
        fetch_archive(tmp_path / "one.zip", tmp_path)


def test_a_damaged_archive_leaves_nothing(tmp_path: Path, kaggle_zip: bytes) -> None:
    damaged = bytearray(kaggle_zip)
    damaged[60] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(damaged)
    with pytest.raises(ArchiveError):
        fetch_archive(tmp_path / "bad.zip", tmp_path / "data")
    assert not _list(tmp_path / "data")
    assert not (tmp_path / "data" / "chest_xray").exists()


@pytest.mark.parametrize("moment", ["record", "extract"])
def test_an_interruption_while_unpacking_is_made_good_by_the_next_call(
    tmp_path: Path, kaggle_zip: bytes, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set.zip").write_bytes(kaggle_zip)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    name = {"record": "write_atomically", "extract": "extract_archive"}[moment]
    with monkeypatch.context() as patch:
        patch.setattr(download, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_archive(tmp_path / "set.zip", tmp_path / "data")
    assert not (tmp_path / "data" / "chest_xray").exists()
    assert len(_list(fetch_archive(tmp_path / "set.zip", tmp_path / "data"))) == 4


KILLED = """
import sys
from pathlib import Path
from pneumoscope.datasets import fetch_archive
fetch_archive(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", [1, 2000])
def test_a_kill_while_unpacking_leaves_nothing_that_looks_whole(
    tmp_path: Path, moment: int
) -> None:
    archive, out, n = tmp_path / "set.zip", tmp_path / "data", 4000
    with zipfile.ZipFile(archive, "w") as file:
        for i in range(n):
            file.writestr(f"train/NORMAL/{i}.png", b"x")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(archive), str(out)])
    deadline = time.monotonic() + 60
    while sum(1 for _ in out.glob(".chest_xray.*/train/NORMAL/*")) < moment:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "chest_xray").exists()
    assert len(_list(fetch_archive(archive, out))) == n


def test_a_network_that_stays_away_for_a_while_is_waited_for(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    world = serve(b"data", statuses=[503])
    answers = iter([None, DownloadError("offline"), DownloadError("offline"), None])

    def ask() -> Address:
        if error := next(answers):
            raise error
        return Address(world.url)

    download_file(ask, tmp_path / "set.zip", pause=0)
    assert (tmp_path / "set.zip").read_bytes() == b"data"


def test_what_is_there_already_needs_no_room(
    tmp_path: Path, sign_in: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(AssertionError("asked"))
    monkeypatch.setattr(download, "_ROOM", 2**60)
    part = tmp_path / "chest-xray-pneumonia.zip.part"
    with part.open("wb") as stream:
        stream.truncate(2**42)  # a hole: takes no room itself
    monkeypatch.setattr(download, "_ROOM", 2**42 + 2**20)
    with pytest.raises(AssertionError, match="asked"):
        fetch_kaggle(tmp_path)
