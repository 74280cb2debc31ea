"""Named arrays in the safetensors layout, so that every position in the file is known.

Format: https://huggingface.co/docs/safetensors, an 8-byte length, a JSON header, the raw bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CODES = {"float16": "F16", "float32": "F32", "int64": "I64"}
# The bytes of the tensors start at a multiple of this, so that engines may map them into memory.
_ALIGNMENT = 64


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies in `model.safetensors`."""

    dtype: str
    """numpy's name: float16, float32 or int64."""
    shape: tuple[int, ...]
    offset: int
    """From the start of the file, in bytes."""
    length: int
    """In bytes."""


def pack_tensors(
    tensors: Mapping[str, NDArray[Any]],
) -> tuple[bytes, dict[str, TensorPlace]]:
    """Return the bytes of a safetensors file and where each tensor lies in it.

    The same tensors give the same bytes. Arrays are float16, float32 or int64, little-endian.

    Raises
    ------
    ValueError
        An array has another dtype.
    """
    # Wide and large first: every tensor then starts at a multiple of its item size.
    names = sorted(tensors, key=lambda n: (-tensors[n].itemsize, -tensors[n].nbytes, n))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    chunks = []
    for name in names:
        array = tensors[name]
        if array.dtype.name not in _CODES:
            raise ValueError(f"{name} is {array.dtype}; only {', '.join(_CODES)} are stored")
        chunk = array.astype(array.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [position, position + len(chunk)],
        }
        position += len(chunk)
        chunks.append(chunk)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    start = 8 + len(text)
    places = {
        name: TensorPlace(
            dtype=tensors[name].dtype.name,
            shape=tensors[name].shape,
            offset=start + header[name]["data_offsets"][0],
            length=tensors[name].nbytes,
        )
        for name in names
    }
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks]), places


def narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Return floats as float16 where none overflows, else as float32; integers as they are."""
    if array.dtype.kind != "f":
        return array
    if array.size and np.abs(array).max() > np.finfo(np.float16).max:
        return array.astype(np.float32)
    return array.astype(np.float16)
