"""Rooms stand on floors: each imports only what lies below, and torch stays in two of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "pneumoscope"

FLOORS = {
    "errors": -1, "_closing": 0, "_files": 0, "_extras": 0, "_probability": 0, "_quiet": 0,
    "images": 1, "evaluation": 1,
    "datasets": 2, "bundle": 2,
    "network": 3, "runtime": 3,
    "client": 4, "evidence": 4, "records": 4, "training": 5, "workbench": 5,
    "cli": 6, "__init__": 6, "__main__": 7,
}  # fmt: skip
TORCH = {"torch", "torchvision"}

FILES = sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _find_room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _list_imports(node: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each imported module, and whether it is imported only when a function runs."""
    for child in ast.iter_child_nodes(node):
        if _is_for_types(child):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports name their room in full"
            module = child.module or ""
            yield module, lazy
            if module == "pneumoscope":
                yield from ((f"pneumoscope.{alias.name}", lazy) for alias in child.names)
        else:
            yield from _list_imports(child, lazy or isinstance(child, ast.FunctionDef))


def _read_imports(path: Path) -> list[tuple[str, bool]]:
    return list(_list_imports(ast.parse(path.read_text(encoding="utf-8"))))


def test_every_room_has_a_floor():
    assert {_find_room(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_no_room_imports_upwards(path):
    room = _find_room(path)
    for module, _ in _read_imports(path):
        top, _, rest = module.partition(".")
        other = rest.split(".")[0]
        if top != "pneumoscope" or other in {"", room, "__version__"}:
            continue
        assert FLOORS[other] < FLOORS[room], f"{_name(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_torch_is_imported_only_where_networks_are_trained(path):
    room = _find_room(path)
    for module, lazy in _read_imports(path):
        if module.split(".")[0] in TORCH:
            assert room in {"network", "training"} or (room == "cli" and lazy), module


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=_name)
def test_commands_import_their_work_only_when_they_run(path):
    plain = ("errors", "_probability", "__version__")
    allowed = {"pneumoscope", *(f"pneumoscope.{name}" for name in plain)}
    for module, lazy in _read_imports(path):
        if module.startswith("pneumoscope") and not lazy:
            assert module in allowed or module.startswith("pneumoscope.cli"), module


def test_a_rooms_inside_is_its_own():
    """Names with an underscore are not imported from another room."""
    for path in FILES:
        for module, _ in _read_imports(path):
            parts = module.split(".")
            if parts[0] == "pneumoscope" and len(parts) > 2 and parts[1] != _find_room(path):
                assert not any(part.startswith("_") for part in parts[2:]), _name(path)


def test_imports_are_seen_at_all():
    tree = ast.parse("import torch\ndef f():\n    from pneumoscope import cli\n")
    assert list(_list_imports(tree)) == [
        ("torch", False), ("pneumoscope", True), ("pneumoscope.cli", True),
    ]  # fmt: skip
