"""What a model has seen: images known again by their file, or by their looks as another file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Perceptual hashes at most this many bits of 256 apart are of one image. Copies of radiographs at
#: another size differ by at most 10 (100 measured), those of other children by at least 36 (5,232
#: compared), and phantoms, which are all alike, by at least 20 (225 with 900). A copy that was
#: cropped may be missed.
MAX_BITS = 14


@dataclass(frozen=True)
class ImageHashes:
    """Hashes of images, 64 hexadecimal digits each."""

    sha256: tuple[str, ...] = ()
    """Of the files."""
    phash: tuple[str, ...] = ()
    """Perceptual ones, in the same order, as `datasets.fingerprint` makes them; none where they are
    not known."""

    def __or__(self, other: ImageHashes) -> ImageHashes:
        return ImageHashes(self.sha256 + other.sha256, self.phash + other.phash)

    def find(self, others: ImageHashes) -> NDArray[np.bool_]:
        """Return which of the others are among these, bool [N]: as a file, or as a picture."""
        known = frozenset(self.sha256)
        found = np.array([digest in known for digest in others.sha256], dtype=np.bool_)
        if self.phash and others.phash:
            mine = pack_digests(self.phash).view(np.uint64)
            theirs = pack_digests(others.phash).view(np.uint64)
            for row in np.flatnonzero(~found):
                bits = np.bitwise_count(mine ^ theirs[row]).sum(1)
                found[row] = bits.min() <= MAX_BITS
        return found


def pack_digests(digests: Iterable[str]) -> NDArray[np.uint8]:
    """Return digests as uint8 [N, 32], in their order."""
    joined = b"".join(bytes.fromhex(digest) for digest in digests)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def unpack_digests(rows: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the digests of uint8 [N, 32]."""
    return tuple(row.tobytes().hex() for row in rows)
