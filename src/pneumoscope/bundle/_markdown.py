"""Markdown and YAML from data, so that no text of a bundle breaks out of its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any


def flatten(text: str) -> str:
    """Return printable text on one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def write_table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table; a text cannot end its cell."""
    columns = list(header)
    lines: list[list[object]] = [columns, ["---"] * len(columns), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(_write_cell(c) for c in line) + " |" for line in lines)


def write_list(items: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {flatten(item)}" for item in items)


def write_yaml(tree: object) -> str:
    """Return mappings, lists and scalars as block YAML; reading needs no library, nor does this."""
    return "\n".join(_write_lines(tree))


def _write_cell(value: object) -> str:
    return flatten(str(value)).replace("|", "\\|")


def _write_lines(tree: object) -> Iterator[str]:
    match tree:
        case dict() if tree:
            for key, value in tree.items():
                first, *rest = _write_lines(value)
                if isinstance(value, dict | list) and value:
                    yield f"{key}:"
                    yield from (f"  {line}" for line in (first, *rest))
                else:
                    yield f"{key}: {first}"
        case list() if tree:
            for value in tree:
                first, *rest = _write_lines(value)
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)
        case _:
            yield _write_scalar(tree)


def _write_scalar(value: Any) -> str:
    # JSON text is YAML text: quoted, so that no name can mean anything.
    return json.dumps(flatten(value) if isinstance(value, str) else value, ensure_ascii=False)
