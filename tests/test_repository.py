"""The pages tell the truth: links lead somewhere, commands exist, versions and lists agree."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import pneumoscope
from pneumoscope.cli import app

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "pneumoscope"
DOCS = ROOT / "docs"


def _list_files(*patterns: str) -> list[Path]:
    """Return the files that git tracks or would track."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # an archive without git
        found = [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern)]
        return sorted(p for p in found if p.is_file() and ".venv" not in p.parts[len(ROOT.parts)])
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return [ROOT / name for name in names if (ROOT / name).is_file()]


PAGES = _list_files("*.md")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- links ----------------------------------------------------------------------------------------


def _drop_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "code", text)


def _list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page):
    text = _drop_code(page.read_text(encoding="utf-8"))
    targets = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)", text)
    targets += re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), f"{_name(page)} links to {target}, which does not exist"
        if anchor and place.suffix == ".md":
            assert anchor in _list_anchors(place), f"{_name(page)}: no heading for {target}"


def test_the_index_leads_to_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"]
    missing = [_name(page) for page in pages if f"({page.relative_to(DOCS)})" not in index]
    assert not missing


# -- commands -------------------------------------------------------------------------------------

ROOT_COMMAND = typer.main.get_command(app)


def _find_typed(text: str) -> Iterator[str]:
    """Yield the commands of code blocks, which a reader types as they stand."""
    for block in re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ")
            if command.startswith("pneumoscope ") and (command != line or "$ " not in block):
                yield command


def _find_mentioned(text: str) -> Iterator[str]:
    """Yield the commands of running text, which may leave arguments out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`(pneumoscope [^`\n]+)`", text)


def _split(command: str) -> list[str]:
    """Return the words of a command up to a pipe, a redirection or a comment."""
    words = []
    for word in shlex.split(command, comments=True)[1:]:
        if word in {"|", ">", ">>", "<", "&&", ";", "2>"}:
            break
        words.append(word)
    return words


def _walk_to_command(words: list[str]) -> tuple[Any, list[str]]:
    command, rest = ROOT_COMMAND, list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"there is no command {name!r} in {' '.join(words)!r}"
        command = command.commands[name]
    return command, rest


def _collect(find) -> list[Any]:
    return [
        pytest.param(command, id=f"{_name(page)}: {command}")
        for page in PAGES
        for command in dict.fromkeys(find(page.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("command", _collect(_find_typed))
def test_a_command_in_a_code_block_parses(command):
    found, rest = _walk_to_command(_split(command))
    assert not hasattr(found, "commands") or "--version" in rest or "--help" in rest, command
    if not {"--help", "--version"} & set(rest):
        found.make_context(command, rest)  # raises on what is unknown, missing or out of range


@pytest.mark.parametrize("command", _collect(_find_mentioned))
def test_a_command_in_running_text_exists(command):
    found, rest = _walk_to_command(_split(command))
    known = {name for parameter in found.params for name in parameter.opts} | {"--help"}
    flags = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert flags <= known, command


def test_the_commands_are_found_at_all():
    assert len(_collect(_find_typed)) > 20
    assert len(_collect(_find_mentioned)) > 20
    with pytest.raises(AssertionError, match="no command"):
        _walk_to_command(["data", "fetsh"])
    command, rest = _walk_to_command(["predict", "--nonsense", "x.png"])
    with pytest.raises(Exception, match="nonsense"):
        command.make_context("predict", rest)


def test_the_demo_uses_commands_that_exist():
    text = (ROOT / "runs" / "demo.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^ *(pneumoscope .+?)(?: \|\| .*)?$", text, re.MULTILINE)
    assert commands
    for command in commands:
        found, rest = _walk_to_command(_split(command.replace('"$IMAGES"', "600")))
        found.make_context(command, rest)


def test_no_page_waits_for_a_number():
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))):
        assert not re.search(r"@[A-Z0-9]+@", page.read_text(encoding="utf-8")), page


# -- lists and versions ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["recipes", "record", "run-folder", "bundle"])
def test_a_reference_page_names_every_field(page):
    from pneumoscope.bundle import BundleInfo
    from pneumoscope.runtime import RECORD_FIELDS, WarningCode
    from pneumoscope.training import EpochRow, Recipe, RunFolder, Stage
    from pneumoscope.training.recipe import Augmentation

    folder = RunFolder(Path("run"))
    fields = {
        "recipes": [
            *(name for model in (Recipe, Stage, Augmentation) for name in model.model_fields)
        ],
        "record": [*RECORD_FIELDS, *(code.value for code in WarningCode)],
        "run-folder": [
            *EpochRow.__dataclass_fields__,
            *(p.name for p in vars(folder).values() if isinstance(p, Path) and p.parent.name),
        ],
        "bundle": [*BundleInfo.model_fields, "seal"],
    }[page]
    words = set(re.findall(r"[\w.]+", (DOCS / "reference" / f"{page}.md").read_text("utf-8")))
    hidden = {"checkpoint.pt", "initial.pt"}  # within state/
    assert set(fields) - words - hidden == set()


def test_the_walls_of_the_house_stand_where_the_page_says():
    """Every room imports only the rooms that the page allows it."""
    text = (DOCS / "explanation" / "house.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| `(\w+)` \|.*\| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
    allowed: dict[str, set[str]] = {}
    for room, imports in rows:
        names = set(re.findall(r"`(\w+)`", imports))
        allowed[room] = set(allowed) if imports.startswith("all") else names
        assert names <= set(allowed), f"{room} stands below what it imports"
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(allowed)
    for room in rooms:
        for path in (PACKAGE / room).rglob("*.py"):
            found = set(_list_imported_rooms(path)) & rooms
            assert found <= allowed[room] | {room}, f"{_name(path)} imports {found}"


def _list_imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pneumoscope"):
            parts = (node.module or "").split(".")
            yield from parts[1:2] or (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            ours = [n.name for n in node.names if n.name.startswith("pneumoscope.")]
            yield from (name.split(".")[1] for name in ours)


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150


def test_versions_agree():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## \[([^\]]+)\]", changes, re.MULTILINE)
    assert top is not None
    assert top[1] in {pneumoscope.__version__, "Unreleased"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == pneumoscope.__version__
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    ruff = next(entry["rev"] for entry in hooks["repos"] if "ruff" in entry["repo"])
    assert f"ruff=={ruff.removeprefix('v')}\n" in (ROOT / "constraints.txt").read_text()


def test_no_file_is_large():
    large = {path.parent for path in _list_files() if path.stat().st_size > 3_000_000}
    assert large <= {PACKAGE / "weights"}  # the model in the box
