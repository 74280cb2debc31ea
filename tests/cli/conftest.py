"""The command line, run within the tests' own process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pneumoscope.cli import main


class Answer(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Answer]:
    """Run `pneumoscope` as its entry point does; an error that gets past it fails the test."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr("sys.argv", ["pneumoscope", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        return Answer(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture
def mixed(phantoms, tmp_path) -> Path:
    """A folder with folders: three good images and three bad ones."""
    folder = tmp_path / "mixed"
    (folder / "ward" / "deep").mkdir(parents=True)
    good = sorted((phantoms / "PNEUMONIA").iterdir())[:3]
    for place, file in zip(("a.jpeg", "ward/b.jpeg", "ward/deep/c.JPG"), good, strict=True):
        (folder / place).write_bytes(file.read_bytes())
    (folder / "empty.png").touch()
    (folder / "ward" / "text.jpg").write_text("hello")
    (folder / "ward" / "cut.jpeg").write_bytes(good[0].read_bytes()[:300])
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_text("not looked at")
    return folder
