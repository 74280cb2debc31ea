"""Named arrays in the safetensors layout, so that every position in the file is known.

Format: https://huggingface.co/docs/safetensors, an 8-byte length, a JSON header, the raw bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CODES = {"float16": "F16", "float32": "F32", "int64": "I64"}
_DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in _CODES.items()}
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


def view_tensors(data: bytearray) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file as arrays that share its memory, by name.

    What is written into one changes the file's bytes, and moves nothing: a graph that points into
    the file finds it there.

    Raises
    ------
    ValueError
        It is no safetensors file, or has a tensor of another dtype than `pack_tensors` stores.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        return {
            name: np.frombuffer(
                data,
                _DTYPES[entry["dtype"]],
                count=math.prod(entry["shape"]),
                offset=start + entry["data_offsets"][0],
            ).reshape(entry["shape"])
            for name, entry in header.items()
        }
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"no safetensors file of floats and integers: {error!r}") from error


def narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Return floats as float16 where none overflows, else as float32; integers as they are."""
    if array.dtype.kind != "f":
        return array
    if array.size and np.abs(array).max() > np.finfo(np.float16).max:
        return array.astype(np.float32)
    return array.astype(np.float16)
