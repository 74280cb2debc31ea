"""The text of `bundle.json`, sealed: it carries the sha256 of itself, so any changed byte shows."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from pneumoscope._files import hash_bytes
from pneumoscope.bundle.schema import MAX_INFO_BYTES, SCHEMA_VERSION, BundleInfo
from pneumoscope.errors import BundleError

_FORMAT = "pneumoscope-bundle"
# The seal stands for itself as zeros while the hash is taken.
_BLANK = "0" * 64


def serialise_info(info: BundleInfo) -> bytes:
    """Return the sealed bytes of `bundle.json`; numbers that are not finite become null.

    Raises
    ------
    BundleError
        It holds something that JSON cannot, or grows beyond 64 KB.
    """
    try:
        tree = {**info.model_dump(mode="json"), "seal": _BLANK}
        blank = (json.dumps(tree, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"The bundle's description cannot be written as JSON ({error}); "
            "metrics and configuration may hold only numbers, text, lists and mappings."
        ) from error
    if len(blank) >= MAX_INFO_BYTES:
        raise BundleError(
            f"The bundle's description takes {len(blank):,} bytes, but only {MAX_INFO_BYTES:,} "
            "are allowed; leave long lists out of metrics and configuration."
        )
    # The last place is the seal's: it is the last field, and nothing behind it can hold zeros.
    head, _, tail = blank.rpartition(_BLANK.encode())
    return head + hash_bytes(blank).encode() + tail


def parse_info(data: bytes, where: str) -> BundleInfo:
    """Return what sealed bytes say; `where` names the bundle in errors.

    Raises
    ------
    BundleError
        The bytes are foreign, newer than this version, changed since they were written, or wrong.
    """
    if len(data) >= MAX_INFO_BYTES:
        raise BundleError(f"{where}: its bundle.json is larger than a bundle's ever is; not used.")
    tree = _parse_json(data, where)
    if tree.get("format") != _FORMAT:
        raise BundleError(
            f"{where}: its bundle.json is not from Pneumoscope; give a folder that "
            "`pneumoscope train` wrote."
        )
    version = tree.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"{where} has schema {version}, but this version of Pneumoscope understands up to "
            f"{SCHEMA_VERSION}: pip install --upgrade pneumoscope."
        )
    _check_seal(data, tree.pop("seal", None), where)
    try:
        return BundleInfo.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise BundleError(
            f"{where}: its bundle.json does not follow the schema, at {place}: {first['msg']}."
        ) from error


def _parse_json(data: bytes, where: str) -> dict[str, Any]:
    try:
        tree = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{where}: its bundle.json is damaged (no JSON); take a fresh copy of the bundle."
        ) from error
    if not isinstance(tree, dict):
        raise BundleError(f"{where}: its bundle.json is not from Pneumoscope (no JSON object).")
    return tree


def _check_seal(data: bytes, seal: object, where: str) -> None:
    if isinstance(seal, str) and len(seal) == len(_BLANK):
        head, found, tail = data.rpartition(seal.encode())
        if found and hash_bytes(head + _BLANK.encode() + tail) == seal:
            return
    raise BundleError(
        f"{where}: its bundle.json was damaged or edited since it was written (the seal does not "
        "match); take a fresh copy of the bundle."
    )
