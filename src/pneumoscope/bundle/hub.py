"""Sharing a bundle through the Hugging Face hub, or any server that speaks its language.

`HF_TOKEN` or `hf auth login` say who pushes, `HF_ENDPOINT` where to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pneumoscope._extras import require_extra
from pneumoscope.bundle.reading import Bundle, read_bundle
from pneumoscope.bundle.schema import INFO
from pneumoscope.errors import BundleError, HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

_OFFICIAL = "huggingface.co"


@dataclass(frozen=True)
class PushedBundle:
    """Where a bundle lies now."""

    url: str
    """Of the repository, or of the branch in it."""
    commit: str
    private: bool
    files: int


def push_bundle(
    path: str | os.PathLike[str],
    repository: str,
    *,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
    progress: bool = False,
) -> PushedBundle:
    """Upload a bundle's files in one commit; the repository is made where there is none.

    Parameters
    ----------
    repository
        `OWNER/NAME`.
    public
        Whether everybody may see a repository that is made here; one that exists stays as it is.
    revision
        The branch, made where there is none; `main` by default.
    message
        Of the commit; names the bundle and its sha256 by default.
    progress
        Whether the client draws its bars on the standard error.

    Raises
    ------
    BundleError
        There is no bundle, or it is damaged; nothing was sent.
    HubError
        There is no token, or the server cannot be reached or refuses; nothing half is there.
    """
    require_extra("hub", "huggingface_hub", purpose="Sharing a bundle")
    from huggingface_hub import HfApi, constants, get_token

    bundle = read_bundle(path)
    problems = bundle.verify()
    if problems:
        raise BundleError(f"{path}: {'; '.join(problems)}; take a fresh copy of the bundle.")
    if repository.count("/") != 1:
        raise HubError(_describe_wrong_name(repository))
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    token = get_token()
    if token is None:
        raise HubError(
            f"There is no token for {endpoint}: set HF_TOKEN to one that may write, or log in "
            "with `hf auth login`."
        )
    api = HfApi(endpoint=endpoint, token=token)
    with _explain(endpoint, repository), _set_client(endpoint, progress):
        api.create_repo(repository, private=not public, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = _commit(api, repository, bundle, revision, message)
        _check_arrival(api, repository, bundle, commit)
        private = bool(api.model_info(repository, revision=commit).private)
    branch = f"/tree/{revision}" if revision else ""
    return PushedBundle(
        url=f"{endpoint}/{repository}{branch}",
        commit=commit,
        private=private,
        files=len(bundle.info.files) + 1,
    )


def _describe_wrong_name(repository: str) -> str:
    return (
        f"{repository!r} is no name of a repository; give OWNER/NAME, of letters, digits, "
        "'-', '_' and '.', such as my-hospital/pneumonia."
    )


def _commit(
    api: HfApi, repository: str, bundle: Bundle, revision: str | None, message: str | None
) -> str:
    """Send the files of the bundle and nothing else that lies beside them; return the commit."""
    from huggingface_hub import CommitOperationAdd

    info = bundle.info
    made = api.create_commit(
        repository,
        [CommitOperationAdd(name, bundle.path / name) for name in _list_files(bundle)],
        commit_message=message or f"Bundle {info.name}, {bundle.sha256[:12]}",
        commit_description=f"Made {info.created}; sha256 of {INFO}: {bundle.sha256}",
        revision=revision,
    )
    return made.oid


def _list_files(bundle: Bundle) -> list[str]:
    return [*sorted(bundle.info.files), INFO]


def _check_arrival(api: HfApi, repository: str, bundle: Bundle, commit: str) -> None:
    """Compare names and sizes; a .gitignore of the repository may have kept files out unsaid."""
    from huggingface_hub.hf_api import RepoFile

    there = api.get_paths_info(repository, _list_files(bundle), revision=commit)
    sizes = {entry.path: entry.size for entry in there if isinstance(entry, RepoFile)}
    for name in _list_files(bundle):
        if sizes.get(name) != (bundle.path / name).stat().st_size:
            raise HubError(
                f"{repository} has {name} not as it was sent; look whether a .gitignore there "
                "leaves it out, and push again."
            )


@contextmanager
def _set_client(endpoint: str, progress: bool) -> Iterator[None]:
    """Set what the client knows only as global settings, and put them back."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    host = urlsplit(endpoint).hostname or ""
    official = f".{host}".endswith(f".{_OFFICIAL}")
    before, shown = constants.HF_HUB_DISABLE_XET, not are_progress_bars_disabled()
    # Another server than the official one may not speak xet; all speak LFS over HTTP.
    constants.HF_HUB_DISABLE_XET = before or not official
    if shown and not progress:
        disable_progress_bars()
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before
        if shown and not progress:
            enable_progress_bars()


@contextmanager
def _explain(endpoint: str, repository: str) -> Iterator[None]:
    """Turn what the client raises into a sentence: it raises what its many layers raise."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The client's own HTTP library, whichever it is, is known by the errors that it raises.
    transport_error: type[Exception] = HfHubHTTPError.__mro__[1]
    try:
        yield
    except (HubError, BundleError):
        raise
    except (OSError, RuntimeError, ValueError, transport_error) as error:
        # A failed upload is wrapped; what happened is inside.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        words = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, HfHubHTTPError):
            sentence = _describe_refusal(cause, endpoint, repository)
        elif isinstance(cause, HFValidationError):
            sentence = _describe_wrong_name(repository)
        elif isinstance(cause, ValueError):
            sentence = f"{endpoint} did not answer as a hub does ({words}); check HF_ENDPOINT."
        else:
            sentence = (
                f"{endpoint} cannot be reached ({words}); check the network, a proxy and "
                "HF_ENDPOINT, and push again."
            )
        raise HubError(sentence) from error


def _describe_refusal(error: HfHubHTTPError, endpoint: str, repository: str) -> str:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split()).rstrip(".")
    answer = f"{status}: {said}" if said else f"{status}"
    match status:
        case 401:
            return (
                f"{endpoint} does not accept the token ({answer}); set HF_TOKEN to a valid one, or "
                "log in with `hf auth login`."
            )
        case 403:
            return (
                f"The token may not write to {repository} ({answer}); take one with the role "
                "`write`, or a repository of your own."
            )
        case 404:
            return (
                f"{endpoint} has no {repository}, no such branch, or shows neither to this token "
                f"({answer}); check the name, --revision and HF_ENDPOINT."
            )
        case _ if status == 429 or status >= 500:
            return f"{endpoint} cannot take the bundle now ({answer}); push again later."
        case _:
            return (
                f"{endpoint} refuses the bundle for {repository} ({answer}); mend that and retry."
            )
