"""Pushing, against a small server that speaks what the hub's client asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from pneumoscope.bundle import Bundle, BundleInfo, DataInfo, push_bundle, read_bundle
from pneumoscope.cli import main
from pneumoscope.errors import BundleError, HubError, MissingExtraError

# The client's own way of sending over LFS.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

MakeBundle = Callable[..., Bundle]
MakeInfo = Callable[..., BundleInfo]

TOKEN = "hf_right"
REPOSITORY = "clinic/tiny"


class _Hub(ThreadingHTTPServer):
    """Repositories with branches of commits; large files come over LFS, the rest in the commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.private: dict[str, bool] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.commits: dict[str, dict[str, bytes]] = {"0" * 40: {}}
        self.messages: list[str] = []
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []
        #: Answers that a test wants: (part of the path, status, headers).
        self.fail: tuple[str, int, dict[str, str]] | None = None
        self.ignored: set[str] = set()

    def commit(self, repository: str, branch: str, lines: list[dict[str, Any]]) -> str:
        files = dict(self.commits[self.branches[repository, branch]])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.messages.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.stored[value["oid"]]
        oid = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[oid] = files
        self.branches[repository, branch] = oid
        return oid

    def resolve(self, repository: str, revision: str) -> str:
        return self.branches.get((repository, revision), revision)


class _Handler(BaseHTTPRequestHandler):
    server: _Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        fail = self.server.fail
        if fail and fail[0] in path:
            return self._answer({"error": "no"}, fail[1], fail[2])
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and not path.startswith("/lfs/"):
            return self._answer({}, 401, {"X-Error-Message": "Invalid credentials in header"})
        for pattern, method in self._ROUTES.items():
            found = re.fullmatch(pattern, path)
            if found:
                return method(self, body, *found.groups())
        return self._answer({"error": f"no route {path}"}, 404)

    do_GET = do_POST = do_PUT = do_HEAD = _handle  # noqa: N815

    def _answer(
        self, tree: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self._send(json.dumps(tree).encode(), status, {"Content-Type": "application/json"}, headers)

    def _send(
        self, data: bytes, status: int, *headers: dict[str, str] | None, size: int | None = None
    ) -> None:
        self.send_response(status)
        for some in headers:
            for name, value in (some or {}).items():
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        answer = {"url": f"{self.server.url}/{name}"}
        if name in self.server.private:
            return self._answer(answer, 409)
        # Older clients say `private`, newer ones `visibility`.
        self.server.private[name] = asked.get("private", asked.get("visibility") == "private")
        self.server.branches[name, "main"] = "0" * 40
        return self._answer(answer)

    def _validate(self, body: bytes) -> None:
        front = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        errors = [] if front["license"] else [{"message": "license is missing"}]
        self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _preupload(self, body: bytes, *_: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["path"].endswith((".safetensors", ".npz"))
                else "regular",
                "shouldIgnore": file["path"] in self.server.ignored,
            }
            for file in json.loads(body)["files"]
        ]
        self._answer({"files": files})

    def _batch(self, body: bytes, *_: str) -> None:
        objects = [
            {
                **entry,
                "authenticated": True,
                "actions": {"upload": {"href": f"{self.server.url}/lfs/{entry['oid']}"}},
            }
            for entry in json.loads(body)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _store(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.stored[oid] = body
        self._answer({})

    def _commit(self, body: bytes, repository: str, branch: str) -> None:
        if (repository, branch) not in self.server.branches:
            return self._answer({}, 404, {"X-Error-Code": "RevisionNotFound"})
        oid = self.server.commit(repository, branch, [json.loads(x) for x in body.splitlines()])
        url = f"{self.server.url}/{repository}/commit/{oid}"
        return self._answer({"commitUrl": url, "commitOid": oid})

    def _branch(self, _: bytes, repository: str, branch: str) -> None:
        main = self.server.branches[repository, "main"]
        known = (repository, branch) in self.server.branches
        self.server.branches.setdefault((repository, branch), main)
        self._answer({}, 409 if known else 200)

    def _describe(self, _: bytes, repository: str, revision: str) -> None:
        oid = self.server.resolve(repository, revision)
        private = self.server.private[repository]
        siblings = [{"rfilename": name} for name in self.server.commits[oid]]
        self._answer(
            {"_id": "1", "id": repository, "sha": oid, "private": private, "siblings": siblings}
        )

    def _list(self, body: bytes, repository: str, revision: str) -> None:
        files = self.server.commits[self.server.resolve(repository, revision)]
        wanted = parse_qs(body.decode()).get("paths", list(files))
        self._answer(
            [
                {
                    "type": "file",
                    "path": name,
                    "size": len(files[name]),
                    "oid": _make_etag(files[name]),
                }
                for name in wanted
                if name in files
            ]
        )

    def _download(self, _: bytes, repository: str, revision: str, name: str) -> None:
        oid = self.server.resolve(repository, revision)
        data = self.server.commits[oid][name]
        self._send(data, 200, {"X-Repo-Commit": oid, "ETag": f'"{_make_etag(data)}"'})

    _ROUTES: dict[str, Callable[..., None]] = {  # noqa: RUF012
        "/api/repos/create": _create,
        "/api/validate-yaml": _validate,
        r"/api/models/(\w+/\w+)/preupload/(.+)": _preupload,
        r"/(\w+/\w+)\.git/info/lfs/objects/batch": _batch,
        r"/lfs/(\w+)": _store,
        r"/api/models/(\w+/\w+)/commit/(.+)": _commit,
        r"/api/models/(\w+/\w+)/branch/(.+)": _branch,
        r"/api/models/(\w+/\w+)/revision/(.+)": _describe,
        r"/api/models/(\w+/\w+)/(?:paths-info|tree)/(.+)": _list,
        r"/(\w+/\w+)/resolve/(\w+)/(.+)": _download,
    }


def _make_etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[_Hub]:
    with _Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # What the variable sets where it stands before the client is imported, as for a person.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        close_session()


def _read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_what_arrives_is_the_bundle_byte_for_byte(hub: _Hub, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.path / "notes.txt").write_text("mine, and not to be shared")
    pushed = push_bundle(bundle.path, REPOSITORY)
    (bundle.path / "notes.txt").unlink()
    assert pushed.url == f"{hub.url}/{REPOSITORY}"
    assert (pushed.private, pushed.files) == (True, 6)
    assert hub.commits[pushed.commit] == _read_files(bundle.path)
    assert hub.messages == [f"Bundle tiny, {bundle.sha256[:12]}"]
    assert sum(" /lfs/" in line for line in hub.asked) == 3  # over HTTP, though xet is installed
    assert not constants.HF_HUB_DISABLE_XET


def test_what_is_downloaded_opens_and_is_whole(
    hub: _Hub, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle()
    push_bundle(bundle.path, REPOSITORY)
    folder = huggingface_hub.snapshot_download(
        REPOSITORY, endpoint=hub.url, token=TOKEN, cache_dir=tmp_path / "cache"
    )
    opened = read_bundle(folder)
    assert opened.sha256 == bundle.sha256
    assert opened.verify() == []
    assert opened.reference()["labels"].tolist() == [0, 1]


def test_a_newer_bundle_is_a_second_commit(
    hub: _Hub, make_bundle: MakeBundle, make_info: MakeInfo
) -> None:
    push_bundle(make_bundle().path, REPOSITORY)
    newer = make_bundle(info=make_info(name="newer"))
    pushed = push_bundle(newer.path, REPOSITORY, message="Recalibrated")
    assert hub.messages[1:] == ["Recalibrated"]
    assert hub.commits[pushed.commit] == _read_files(newer.path)


def test_a_branch_is_made_where_there_is_none(hub: _Hub, make_bundle: MakeBundle) -> None:
    for _ in range(2):  # the second time it is there
        pushed = push_bundle(make_bundle().path, REPOSITORY, revision="trial")
    assert pushed.url == f"{hub.url}/{REPOSITORY}/tree/trial"
    assert hub.branches[REPOSITORY, "trial"] == pushed.commit
    assert hub.commits[hub.branches[REPOSITORY, "main"]] == {}


def test_public_is_only_what_is_asked_for(hub: _Hub, make_bundle: MakeBundle) -> None:
    assert not push_bundle(make_bundle().path, REPOSITORY, public=True).private
    assert push_bundle(make_bundle().path, "clinic/other").private
    assert push_bundle(make_bundle().path, "clinic/other", public=True).private  # stays as it is


def test_a_damaged_bundle_is_not_sent(hub: _Hub, make_bundle: MakeBundle) -> None:
    path = make_bundle().path
    (path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged"):
        push_bundle(path, REPOSITORY)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "clinic/", "clinic/ti ny", "../x", "clinic/-x"])
def test_a_name_that_is_none_is_a_sentence(hub: _Hub, make_bundle: MakeBundle, name: str) -> None:
    with pytest.raises(HubError, match=r"is no name of a repository; give OWNER/NAME"):
        push_bundle(make_bundle().path, name)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        (("repos/create", 401, {}), r"does not accept the token \(401: no\); set HF_TOKEN"),
        (("repos/create", 403, {}), "may not write to clinic/tiny .*role `write`"),
        (("repos/create", 404, {}), "check the name, --revision and HF_ENDPOINT"),
        (("repos/create", 429, {}), "cannot take the bundle now .*push again later"),
        (("validate-yaml", 400, {}), "did not answer as a hub does .*Invalid metadata"),
        (("preupload", 413, {"X-Error-Message": "Too big."}), "refuses .*413: Too big"),
        (("/lfs/", 403, {}), "may not write to clinic/tiny"),
        (("/commit/", 412, {}), r"refuses the bundle for clinic/tiny \(412: no\)"),
        (("/commit/", 500, {}), r"cannot take the bundle now \(500: no\)"),
    ],
)
def test_a_refusal_is_a_sentence_and_leaves_no_half(
    hub: _Hub, make_bundle: MakeBundle, fail: tuple[str, int, dict[str, str]], sentence: str
) -> None:
    hub.fail = fail
    with pytest.raises(HubError, match=sentence) as caught:
        push_bundle(make_bundle().path, REPOSITORY)
    assert "\n" not in str(caught.value)
    assert hub.commits == {"0" * 40: {}}


def test_a_file_that_the_repository_ignores_is_noticed(hub: _Hub, make_bundle: MakeBundle) -> None:
    hub.ignored = {"reference.npz"}
    with pytest.raises(HubError, match=r"has reference\.npz not as it was sent; .*\.gitignore"):
        push_bundle(make_bundle().path, REPOSITORY)


def test_a_server_that_is_no_hub_is_a_sentence(
    hub: _Hub, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Handler, "_answer", lambda self, *_: self._send(b"<html>", 200))
    with pytest.raises(HubError, match="did not answer as a hub does"):
        push_bundle(make_bundle().path, REPOSITORY)


def test_without_a_network_it_is_a_sentence(
    hub: _Hub, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"http://127\.0\.0\.1:9 cannot be reached \("):
        push_bundle(make_bundle().path, REPOSITORY)


def test_without_a_token_it_is_a_sentence(
    hub: _Hub, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"There is no token for http.*set HF_TOKEN"):
        push_bundle(make_bundle().path, REPOSITORY)
    assert hub.asked == []


def test_without_the_extra_it_is_named(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pneumoscope\[hub\]'"):
        push_bundle(make_bundle().path, REPOSITORY)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["pneumoscope", "bundle", "push", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_command_prints_the_address(
    hub: _Hub,
    make_bundle: MakeBundle,
    make_info: MakeInfo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = DataInfo(layout="folders", sources=["phantom"], counts={}, phantom=True)
    info = make_info(data=data, warnings=["Trained on synthetic phantoms."])
    assert _run(monkeypatch, make_bundle(info=info).path, REPOSITORY, "--public") == 0
    printed = capsys.readouterr()
    assert printed.out == f"{hub.url}/{REPOSITORY}\n"
    assert printed.err.startswith("warning: Trained on synthetic phantoms.\n6 files in commit ")
    assert printed.err.endswith(", public.\n")
    card = hub.commits[hub.branches[REPOSITORY, "main"]]["README.md"].decode()
    assert "> **Warning.** Trained on synthetic phantoms." in card


def test_the_command_fails_with_one_line(
    hub: _Hub,
    make_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert _run(monkeypatch, make_bundle().path, REPOSITORY) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "does not accept the token" in error
    assert error.count("\n") == 1


def test_an_interruption_is_130(
    hub: _Hub, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub.HfApi, "preupload_lfs_files", interrupt)
    assert _run(monkeypatch, make_bundle().path, REPOSITORY) == 130
    assert hub.commits == {"0" * 40: {}}
