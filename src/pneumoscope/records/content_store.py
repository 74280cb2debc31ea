"""Files by the hash of what they hold: the same image is kept once, and never half."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pneumoscope._files import hash_bytes, hash_file, write_atomically
from pneumoscope.errors import RecordError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ContentStore:
    """A folder of files named by their sha256; no name from outside ever reaches it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep bytes, and return their sha256; they are on the disk when this returns."""
        sha256 = hash_bytes(data)
        path = self.find(sha256)
        # A file of the wrong length is what a broken disk left: it is written anew.
        if not path.is_file() or path.stat().st_size != len(data):
            write_atomically(path, data)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return what was kept.

        Raises
        ------
        RecordError
            It is not there, or no longer what it was.
        """
        try:
            data = self.find(sha256).read_bytes()
        except FileNotFoundError as error:
            raise RecordError(f"The image {sha256[:12]}… is not in the store.") from error
        if hash_bytes(data) != sha256:
            raise RecordError(f"The image {sha256[:12]}… was changed on the disk.")
        return data

    def holds(self, sha256: str) -> bool:
        """Whether the file is there and is what its name says."""
        path = self.find(sha256)
        return path.is_file() and hash_file(path) == sha256

    def remove(self, sha256: str) -> None:
        """Delete a file; where there is none, nothing is done."""
        self.find(sha256).unlink(missing_ok=True)

    def walk(self) -> Iterator[str]:
        """Yield the hashes of all files, in order."""
        for path in sorted(self.folder.glob("??/*")):
            if _SHA256.fullmatch(path.name):
                yield path.name

    def find(self, sha256: str) -> Path:
        """Return where a file lies or would lie.

        Raises
        ------
        RecordError
            This is no sha256.
        """
        if not _SHA256.fullmatch(sha256):
            raise RecordError("Images are named by their sha256: 64 hexadecimal digits.")
        return self.folder / sha256[:2] / sha256
