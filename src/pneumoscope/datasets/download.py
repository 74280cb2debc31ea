"""Fetching the Kaggle set: Kaggle's client signs in and gives the address, the rest is ours.

A download that breaks off goes on where it stopped, if the file behind the address is the same.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pneumoscope._extras import require_extra
from pneumoscope._files import hash_file, write_atomically
from pneumoscope.datasets.archives import extract_archive
from pneumoscope.errors import ArchiveError, DataError, DownloadError

OWNER, NAME = "paultimothymooney", "chest-xray-pneumonia"
#: What the archive and its unpacked tree need on disk, bytes.
_ROOM = 4 * 2**30
_ATTEMPTS = 6
#: Answers of a server that may be another one in a moment.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = 60
#: What a break loses at most, bytes.
_PIECE = 1 << 16
_OTHER_WAYS = (
    "pass an archive that you downloaded in a browser with --archive FILE.zip, use a folder of "
    "your own, or draw synthetic images with `pneumoscope data phantom`"
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Address:
    """Where a file can be had right now, and the headers that must be sent along."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch_kaggle(out: Path, *, progress: Progress | None = None) -> Path:
    """Download and unpack the Kaggle set below `out`; return the folder with train/ and test/.

    Raises
    ------
    DownloadError
        No token, no network, or Kaggle refuses; the sentence says which ways are left.
    DataError
        The disk has no room.
    """
    require_extra("fetch", "kaggle", "requests", purpose="Fetching from Kaggle")
    target, archive = out / "chest_xray", out / f"{NAME}.zip"
    if target.is_dir():
        if _read_record(out / "chest_xray.json"):
            return _find_tree(target)
        raise DataError(_describe_foreign(target))
    part = archive.with_name(f"{archive.name}.part")
    _check_room(out, sum(file.stat().st_size for file in (archive, part) if file.is_file()))
    download_file(_ask_kaggle, archive, progress=progress)
    if not zipfile.is_zipfile(archive):
        archive.unlink()
        raise DownloadError(
            f"What came instead of {archive.name} is no archive: check whether a proxy or a "
            f"sign-in page stands between you and Kaggle, or {_OTHER_WAYS}."
        )
    try:
        return fetch_archive(archive, out, progress=progress)
    except ArchiveError as error:
        raise ArchiveError(f"{error} Remove {archive} to download it anew.") from error


def fetch_archive(archive: Path, out: Path, *, progress: Progress | None = None) -> Path:
    """Unpack an archive of the set below `out`; return the folder with train/ and test/.

    Beside it, `chest_xray.json` records where it came from and its checksum.

    Raises
    ------
    DataError, ArchiveError
        The archive is missing, damaged, hostile, or another one is unpacked there.
    """
    if not archive.is_file():
        raise DataError(f"There is no archive {archive}: {_OTHER_WAYS}.")
    target, record = out / "chest_xray", out / "chest_xray.json"
    sha256 = hash_file(archive)
    if target.exists():
        if _read_record(record).get("sha256") == sha256:
            return _find_tree(target)
        raise DataError(_describe_foreign(target))
    facts = {
        "archive": archive.name,
        "sha256": sha256,
        "bytes": archive.stat().st_size,
        "source": f"https://www.kaggle.com/datasets/{OWNER}/{NAME}",
        "licence": "CC BY 4.0; Kermany, Zhang, Goldbaum, doi:10.17632/rscbjbr9sj.2",
    }
    # The record comes first: whenever the folder is there, what it was made from is known.
    write_atomically(record, json.dumps(facts, indent=2) + "\n")
    try:
        extract_archive(archive, target, progress=progress)
    except BaseException:
        record.unlink(missing_ok=True)
        raise
    return _find_tree(target)


def download_file(
    ask: Callable[[], Address], path: Path, *, progress: Progress | None = None, pause: float = 1.0
) -> None:
    """Download to `path`, going on after a break where the file behind the address is the same.

    Parameters
    ----------
    ask
        Gives a fresh address for every attempt, since signed ones expire.
    pause
        Seconds to wait after a first break; doubled each time.

    Raises
    ------
    DownloadError
        The server refuses, or breaks off again and again; what came is kept for the next call.
    """
    import requests

    if path.is_file():
        return
    part, mark = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    last: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(min(30.0, pause * 2 ** (attempt - 1)))
        try:
            if _download_on(_ask_again(ask, attempt), part, mark, progress):
                part.replace(path)
                mark.unlink(missing_ok=True)
                return
        except _NoAddressError as error:
            last = error
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else None
            if status not in _PASSING:
                raise DownloadError(
                    f"{path.name} was refused (HTTP {status}): check your token, or {_OTHER_WAYS}."
                ) from error
            last = error
        except (requests.RequestException, OSError) as error:
            if isinstance(error, OSError) and error.errno == 28:  # no space left
                raise DownloadError(f"The disk is full: free some room for {path}.") from error
            last = error
    have = part.stat().st_size if part.is_file() else 0
    raise DownloadError(
        f"{path.name} could not be downloaded ({last or 'broke off'}), {have} bytes are kept: run "
        f"it again to go on, or {_OTHER_WAYS}."
    ) from last


class _NoAddressError(Exception):
    """An address could be had before, and cannot be had now."""


def _ask_again(ask: Callable[[], Address], attempt: int) -> Address:
    """Ask for an address; only where the first could not be had there is no use in waiting."""
    try:
        return ask()
    except DownloadError as error:
        if attempt:
            raise _NoAddressError(error) from error
        raise


def _download_on(address: Address, part: Path, mark: Path, progress: Progress | None) -> bool:
    """Take one attempt; return whether the file is complete."""
    import requests

    have = part.stat().st_size if part.is_file() else 0
    identity = _read_record(mark)
    headers = {**address.headers, "Accept-Encoding": "identity"}
    if have and identity.get("validator"):
        headers |= {"Range": f"bytes={have}-", "If-Range": str(identity["validator"])}
    else:
        have = 0
    with requests.get(address.url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing is left to send, or the file has changed
            part.unlink(missing_ok=True)
            return False
        answer.raise_for_status()
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if answer.status_code != 206:
            have = 0  # the server sends all of it: another file, or it knows no ranges
        elif not _fits(answer.headers, have, validator, identity.get("validator")):
            part.unlink(missing_ok=True)  # a part of another file, from a careless server
            return False
        length = int(answer.headers.get("Content-Length") or 0)
        total = have + length if length else 0
        write_atomically(mark, json.dumps({"validator": validator, "total": total}))
        with part.open("ab" if have else "wb") as sink:
            for piece in answer.iter_content(_PIECE):
                sink.write(piece)
                have += len(piece)
                if progress:
                    progress(have, total)
    return not total or have == total


def _fits(headers: Mapping[str, str], have: int, validator: str | None, known: object) -> bool:
    """Whether a partial answer goes on where the file stopped, and is of the same file."""
    start = headers.get("Content-Range", f"bytes {have}-").removeprefix("bytes ").split("-")[0]
    return start == str(have) and validator in {None, known}


def _ask_kaggle() -> Address:
    """Return the archive's address from Kaggle's own client, signed in as the user.

    Raises
    ------
    DownloadError
        There is no token, or Kaggle cannot be reached.
    """
    import requests

    printed = io.StringIO()
    try:
        # Importing the client signs in, and prints and exits where it cannot.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            from kaggle.api.kaggle_api_extended import KaggleApi
            from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

            api = KaggleApi()
            api.authenticate()
            request = ApiDownloadDatasetRequest()
            request.owner_slug, request.dataset_slug = OWNER, NAME
            with api.build_kaggle_client() as client:
                answer = client.datasets.dataset_api_client.download_dataset(request)
        answer.close()
    except SystemExit as error:
        raise DownloadError(
            "Kaggle wants a token: make one at kaggle.com (Settings, API) and save it as "
            f"~/.kaggle/kaggle.json, or {_OTHER_WAYS}."
        ) from error
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "error"
        said = "is busy" if status in _PASSING else "refuses"
        advice = "try later" if status in _PASSING else "check the token in ~/.kaggle/kaggle.json"
        raise DownloadError(
            f"Kaggle {said} (HTTP {status}): {advice}, or {_OTHER_WAYS}."
        ) from error
    except (requests.RequestException, OSError, ValueError) as error:
        raise DownloadError(f"Kaggle cannot be reached: go online, or {_OTHER_WAYS}.") from error
    headers = {k: v for k, v in answer.request.headers.items() if k.lower() == "authorization"}
    return Address(answer.url, headers)


def _find_tree(folder: Path) -> Path:
    """Return the folder that holds train/, which archives put a level or two deep."""
    for candidate in (folder, *sorted(p for p in folder.glob("*") if p.is_dir())):
        if (candidate / "train").is_dir():
            return candidate
    return folder


def _describe_foreign(target: Path) -> str:
    return (
        f"{target} exists already and was not made from this archive: use it as it is, choose "
        "another --out, or remove it."
    )


def _check_room(out: Path, there: int) -> None:
    """Refuse where what is still to come, beside the bytes that are there, has no room."""
    needed = max(0, _ROOM - there)
    existing = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DataError(
            f"{out} has {free / 1e9:.1f} GB free, the archive and its images need "
            f"{needed / 1e9:.1f} GB: free some, or choose another --out."
        )


def _read_record(path: Path) -> dict[str, object]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
