"""The installed `pneumoscope`, as a person or a script starts it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pneumoscope

COMMAND = shutil.which("pneumoscope", path=str(Path(sys.executable).parent))


def _run(*arguments, **options):
    assert COMMAND, "pneumoscope is not installed beside this Python"
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, timeout=120, **options
    )


def _run_python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_says_its_version():
    assert _run("--version").stdout.decode() == f"pneumoscope {pneumoscope.__version__}\n"


def test_good_and_bad_files_from_folder_and_pipe(bundle, mixed):
    image = (mixed / "a.jpeg").read_bytes()
    done = _run("predict", mixed, "-", "--bundle", bundle, "--format", "jsonl", input=image)
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["status"] for record in records].count("ok") == 4
    assert len(records) == 7
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closing a stream needs a POSIX shell")
def test_a_closed_standard_input_is_answered_in_a_sentence(bundle):
    closing = f'exec "{COMMAND}" predict - --bundle "{bundle}" <&-'
    done = subprocess.run(["sh", "-c", closing], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "error: Standard input is closed: name a file, or pipe one in.\n"


@pytest.mark.skipif(os.name != "posix", reason="closing a stream needs a POSIX shell")
def test_a_closed_standard_output_costs_no_answer(bundle, mixed, tmp_path):
    table = tmp_path / "results.csv"
    closing = (
        f'exec "{COMMAND}" predict "{mixed / "a.jpeg"}" --bundle "{bundle}" --out "{table}" >&-'
    )
    done = subprocess.run(["sh", "-c", closing], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(table.read_text().splitlines()) == 2


def test_misuse_is_one_sentence_and_2(bundle, mixed):
    done = _run("predict", mixed, "--bundle", bundle, "--operating-point", "best")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode() == (
        "error: The bundle has no operating point 'best': it has rule_out, balanced, rule_in.\n"
    )


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_reader_that_goes_away_ends_it_quietly(bundle, phantoms, form):
    """As in `pneumoscope predict folder | head -1`."""
    process = subprocess.Popen(
        [COMMAND, "predict", phantoms, "--bundle", bundle, "--format", form],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert errors == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [("--format", "table"), ("--format", "jsonl"), ("--format", "csv"), None],
    ids=["table", "jsonl", "csv", "bundle show"],
)
def test_a_full_disk_is_one_sentence(bundle, mixed, arguments):
    command = ["bundle", "show", bundle]
    if arguments:
        command = ["predict", mixed / "a.jpeg", "--bundle", bundle, "--quiet", *arguments]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [COMMAND, *map(str, command)], stdout=full, stderr=subprocess.PIPE, timeout=120
        )
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: The output cannot be read or written: No space left on device.\n"
    )


HEAVY = ("torch", "torchvision", "polars", "scipy", "sklearn", "matplotlib", "onnx", "onnxruntime")


def test_importing_the_package_is_light():
    found = _run_python("import sys, pneumoscope; print(*sys.modules)").split()
    assert not {*HEAVY, "numpy", "openvino", "pydantic"} & set(found)


@pytest.mark.parametrize("command", ["--help", "predict"])
def test_help_and_prediction_never_import_torch_or_tables(bundle, mixed, command):
    code = """
import sys
from pneumoscope.cli import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
print(*sys.modules)
"""
    rest = [mixed / "a.jpeg", "--bundle", bundle, "--heatmaps", mixed / "out"]
    out = _run_python(code, command, *(rest if command == "predict" else []))
    assert not set(HEAVY) & set(out.splitlines()[-1].split())


def test_python_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "pneumoscope", "--version"], capture_output=True, timeout=60
    )
    assert done.stdout.decode() == f"pneumoscope {pneumoscope.__version__}\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a locale without letters beyond ASCII")
def test_a_poor_locale_still_prints_every_name(bundle, mixed):
    name = "Röntgen.jpeg"
    (mixed / name).write_bytes((mixed / "a.jpeg").read_bytes())
    poor = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = _run(
        "predict", mixed / name, "--bundle", bundle, "--format", "jsonl", env=os.environ | poor
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["path"] == str(mixed / name)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_answers_reach_their_file_while_a_bar_is_shown_on_the_terminal(bundle, phantoms, tmp_path):
    import pty

    files = sorted((phantoms / "NORMAL").glob("*.jpeg"))[:25]
    ours, theirs = pty.openpty()
    with (tmp_path / "findings.jsonl").open("wb") as sink:
        process = subprocess.Popen(
            [COMMAND, "predict", *files, "--bundle", bundle, "--format", "jsonl"],
            stdout=sink,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm"},
        )
        os.close(theirs)
        screen = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the process is
            while piece := os.read(ours, 65536):
                screen += piece
        assert process.wait() == 0
    os.close(ours)
    records = [json.loads(line) for line in (tmp_path / "findings.jsonl").read_text().splitlines()]
    assert [record["path"] for record in records] == [str(file) for file in files]
    assert b"Predicting" in screen
    assert b'"schema"' not in screen
