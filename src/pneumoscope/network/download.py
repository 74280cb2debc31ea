"""Official weights: found in a cache, or fetched once and checked against their hash."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pneumoscope import __version__
from pneumoscope._files import find_cache_folder, hash_file, replace_atomically
from pneumoscope.errors import DownloadError

logger = logging.getLogger(__name__)

#: Names a folder on another server (http, https or file) that holds the same files. Hospitals
#: whose machines cannot reach the internet put the official file there; the hash stays the
#: official one.
MIRROR_VARIABLE = "PNEUMOSCOPE_WEIGHTS_MIRROR"

_CHUNK_BYTES = 1 << 20
_MAX_BYTES = 1 << 30
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class WeightsSource:
    """Where weights live, and how their bytes are recognised."""

    url: str
    sha256: str
    """The sha256 in hexadecimal, or its leading digits where the publisher gives no more."""

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def matches(self, sha256: str) -> bool:
        """Whether a full sha256 is the expected one."""
        return bool(self.sha256) and sha256.startswith(self.sha256)


#: torchvision's `ResNet50_Weights.IMAGENET1K_V2` (BSD-3-Clause; trained on ImageNet-1k, top-1
#: 80.858 %). The publisher puts the first eight digits of the sha256 into the file's name.
IMAGENET = WeightsSource("https://download.pytorch.org/models/resnet50-11ad3fa6.pth", "11ad3fa6")


def find_weights(source: WeightsSource) -> Path | None:
    """Return the file of `source` in our cache or torch hub's, hash checked; None if in neither."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in (_find_own_folder(), hub):
        path = folder / source.file_name
        if path.is_file():
            if source.matches(hash_file(path)):
                return path
            logger.warning("%s is not what its name says (wrong sha256); it is not used", path)
    return None


def fetch_weights(
    source: WeightsSource, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Download `source` into our cache, hash checked, whole or not at all; return the file.

    `progress` is called with bytes done and bytes in all (0 where the server does not say).

    Raises
    ------
    DownloadError
        The server cannot be reached, or gives other bytes than the official ones.
    """
    url = _find_address(source)
    target = _find_own_folder() / source.file_name
    try:
        with replace_atomically(target) as temporary:
            digest = _download(url, temporary, progress)
            if not source.matches(digest):
                raise DownloadError(
                    f"{url} gave a file with sha256 {digest[:16]}…, not {source.sha256}…: it is "
                    "damaged or another file, and was not kept."
                )
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{url} cannot be had ({reason}).") from error
    return target


def _download(url: str, path: Path, progress: Callable[[int, int], None] | None) -> str:
    """Write what `url` gives to `path`; return its sha256."""
    if not url.lower().startswith(("http://", "https://", "file://")):
        raise ValueError(f"an address starts with http://, https:// or file://, not {url!r}")
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": f"pneumoscope/{__version__}"})
    opened = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # checked above # nosec B310
    with opened as answer, path.open("wb") as stream:
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while chunk := answer.read(_CHUNK_BYTES):
            done += len(chunk)
            if done > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES:,} bytes")
            digest.update(chunk)
            stream.write(chunk)
            if progress:
                progress(done, total)
        if total and done < total:
            raise ValueError(f"the connection broke after {done:,} of {total:,} bytes")
    return digest.hexdigest()


def _find_address(source: WeightsSource) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"{mirror.rstrip('/')}/{source.file_name}" if mirror else source.url


def _find_own_folder() -> Path:
    return find_cache_folder() / "weights"
