"""Small pictures that were drawn once; they can be drawn again, so nothing waits for the disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class PreviewStore:
    """Thumbnails by the sha256 of their image; deleting an image deletes its thumbnail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, sha256: str) -> bytes | None:
        """Return a thumbnail; None where none was drawn yet."""
        try:
            return self._find(sha256).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, sha256: str, picture: bytes) -> None:
        """Keep a thumbnail; a reader sees all of it or none."""
        path = self._find(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
            stream.write(picture)
        os.replace(stream.name, path)  # noqa: PTH105 - a name, not a path

    def _find(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.jpg"
