"""`pneumoscope predict --out`: results into a file, through kills, breaks and full disks."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

COMMAND = shutil.which("pneumoscope", path=str(Path(sys.executable).parent))
FORMS = pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def _read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _assert_same_results(path, other):
    """Compare two files; logits may differ by what rounding leaves."""
    for one, two in zip(_read(path), _read(other), strict=True):
        for name in ("logit", "probability"):
            numbers = [float(record.pop(name) or 0) for record in (one, two)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-5)
        assert one == two


@pytest.fixture(scope="module")
def many(phantoms, tmp_path_factory):
    """A folder of 600 images, and one that is none."""
    folder = tmp_path_factory.mktemp("many")
    images = sorted(phantoms.rglob("*.jpeg"))
    for number, image in zip(range(600), itertools.cycle(images)):
        os.link(image, folder / f"{number:05}.jpeg")
    (folder / "00007.text.jpg").write_text("hello")
    return folder


@pytest.fixture(scope="module")
def undisturbed(bundle, many, tmp_path_factory):
    """The files that runs without a break wrote, by suffix."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for suffix in (".csv", ".jsonl"):
        done = _start(many, bundle, folder / f"results{suffix}")
        done.communicate(timeout=120)
        assert done.returncode == 1
    return folder


def _start(folder, bundle, out, *options, **settings):
    return subprocess.Popen(
        [COMMAND, "predict", folder, "--bundle", bundle, "--out", out, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def _wait_for_rows(out, process, rows=40):
    while not out.exists() or out.read_bytes().count(b"\n") < rows:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


# -- the file -------------------------------------------------------------------------------------


@FORMS
def test_the_file_holds_what_would_have_been_printed(run, bundle, mixed, tmp_path, suffix):
    out = tmp_path / f"results{suffix}"
    printed = run("predict", mixed, "--bundle", bundle, "--format", suffix[1:], "--jobs", 1)
    answer = run("predict", mixed, "--bundle", bundle, "--out", out, "--jobs", 3)
    assert answer.code == printed.code == 1
    (tmp_path / f"printed{suffix}").write_text(printed.out)
    _assert_same_results(out, tmp_path / f"printed{suffix}")


def test_what_is_printed_is_a_summary(run, bundle, mixed, tmp_path):
    out = tmp_path / "results.csv"
    answer = run("predict", mixed, "--bundle", bundle, "--out", out)
    lines = answer.out.splitlines()
    counts = {line.split()[0]: int(line.split()[1]) for line in lines if line.split()[1:2]
              and line.split()[1].isdigit()}  # fmt: skip
    assert counts.pop("ERROR") == 3
    assert sum(counts.values()) == 3
    assert f"6  in {out}; 6 of them now" in answer.out
    assert "images/s" in answer.out
    assert lines[-1] == "Research use, not a diagnosis."
    assert "a.jpeg" not in answer.out
    assert "3 of 6 images answered, 3 left out" in answer.err
    out.unlink()
    assert run("predict", mixed, "--bundle", bundle, "--out", out, "--quiet").out == ""


def test_an_image_named_twice_gets_one_row(run, bundle, mixed, tmp_path):
    out = tmp_path / "results.jsonl"
    run("predict", mixed / "a.jpeg", mixed, mixed / "a.jpeg", "--bundle", bundle, "--out", out)
    records = _read(out)
    assert len(records) == 6
    assert [Path(record["path"]).name for record in records][:2] == ["a.jpeg", "empty.png"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--out", "r.txt"), "--out takes a name that ends with .csv or .jsonl: r.txt."),
        (("--out", "r.csv"), "r.csv exists: add --resume to go on with it, or choose another"),
        (("--out", "r.csv", "--format", "csv"), "leave out --format"),
        (("--resume",), "--resume goes on with a file: name it with --out."),
        (("-", "--out", "r.csv", "--resume"), "Standard input has no name by which --resume"),
        (
            ("--out", "r.csv", "--resume", "--operating-point", "rule_in"),
            "r.csv was made with operating point referral_band, not rule_in: resume it with",
        ),
    ],
)
def test_what_cannot_go_together_is_one_sentence(
    run, bundle, mixed, tmp_path, monkeypatch, options, sentence
):
    monkeypatch.chdir(tmp_path)
    run("predict", mixed, "--bundle", bundle, "--out", "r.csv")
    before = Path("r.csv").read_bytes()
    answer = run("predict", mixed, "--bundle", bundle, *options)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert Path("r.csv").read_bytes() == before
    assert not Path("r.txt").exists()


# -- going on -------------------------------------------------------------------------------------


def test_only_what_is_missing_is_done_and_errors_are_tried_again(run, bundle, mixed, tmp_path):
    out, maps = tmp_path / "results.csv", tmp_path / "maps"
    arguments = ("predict", mixed, "--bundle", bundle, "--out", out, "--heatmaps", maps)
    assert run(*arguments).code == 1
    assert {path.name[0] for path in maps.glob("*.jpg")} == {"a", "b", "c"}
    shutil.rmtree(maps)
    (mixed / "empty.png").write_bytes((mixed / "a.jpeg").read_bytes())
    answer = run(*arguments, "--resume")
    assert answer.code == 1  # two are still no images
    assert "6  in " in answer.out
    assert "3 of them now" in answer.out
    assert {path.name.split("-")[0] for path in maps.glob("*.jpg")} == {"empty"}
    records = _read(out)
    assert [Path(record["path"]).name for record in records] == [
        "a.jpeg", "empty.png", "b.jpeg", "cut.jpeg", "c.JPG", "text.jpg",
    ]  # fmt: skip
    assert [record["status"] for record in records] == ["ok", "ok", "ok", "error", "ok", "error"]


def test_files_named_oddly_are_known_again(run, bundle, phantoms, tmp_path, monkeypatch):
    monkeypatch.chdir(phantoms)
    first, second = sorted((phantoms / "NORMAL").iterdir())[:2]
    names = [f"./NORMAL/{first.name}", f"NORMAL//../NORMAL/{second.name}"]
    out = tmp_path / "results.csv"
    assert run("predict", *names, "--bundle", bundle, "--out", out).code == 0
    before = out.read_bytes()
    again = run("predict", *names, "--bundle", bundle, "--out", out, "--resume")
    assert again.code == 0
    assert out.read_bytes() == before
    assert [row["path"] for row in _read(out)] == names


def test_a_finished_file_needs_nothing_more(run, bundle, phantoms, tmp_path):
    out = tmp_path / "results.jsonl"
    arguments = ("predict", phantoms / "NORMAL", "--bundle", bundle, "--out", out, "--resume")
    assert run(*arguments).code == 0  # there is none yet: all is missing
    before = out.read_bytes()
    answer = run(*arguments)
    assert answer.code == 0
    assert f"{len(_read(out))}  in " in answer.out
    assert "nothing was left to answer" in answer.err
    assert out.read_bytes() == before


@posix
@FORMS
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    bundle, many, undisturbed, tmp_path, suffix
):
    out = tmp_path / f"results{suffix}"
    for rows in (40, 200):
        process = _start(many, bundle, out, "--resume")
        _wait_for_rows(out, process, rows)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    whole = out.read_bytes()[: out.read_bytes().rfind(b"\n") + 1]
    (tmp_path / f"whole{suffix}").write_bytes(whole)
    records = _read(tmp_path / f"whole{suffix}")
    assert 199 <= len(records) < 601
    assert len({record["path"] for record in records}) == len(records)
    process = _start(many, bundle, out, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    _assert_same_results(out, undisturbed / out.name)


@posix
@pytest.mark.parametrize("drawing", [False, True])
def test_ctrl_c_keeps_what_is_written_and_says_how_to_go_on(
    bundle, many, undisturbed, tmp_path, drawing
):
    out = tmp_path / "results.csv"
    options = ("--heatmaps", tmp_path / "maps") if drawing else ()
    process = _start(many, bundle, out, *options)
    _wait_for_rows(out, process)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    printed, errors = process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    assert process.returncode == 130
    assert printed == ""
    rows = out.read_bytes().count(b"\n") - 1
    assert errors == (
        f"interrupted: {out} holds {rows} of 601 results; the same command with --resume goes on.\n"
    )
    if not drawing:
        process = _start(many, bundle, out, "--resume")
        process.communicate(timeout=120)
        _assert_same_results(out, undisturbed / out.name)


@posix
def test_two_runs_never_write_one_file(bundle, many, undisturbed, tmp_path):
    out = tmp_path / "results.csv"
    first = _start(many, bundle, out)
    _wait_for_rows(out, first, rows=1)
    second = _start(many, bundle, out, "--resume")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2
    assert errors == (
        f"error: {out} is in use by another run: wait for it, or choose another --out.\n"
    )
    first.communicate(timeout=120)
    _assert_same_results(out, undisturbed / out.name)


@posix
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(bundle, many, undisturbed, tmp_path):
    import resource

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    out = tmp_path / "results.csv"
    cache = {"PNEUMOSCOPE_CACHE": str(tmp_path / "none" / "cache")}
    process = _start(many, bundle, out, preexec_fn=limit_files, env=os.environ | cache)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert printed == ""
    assert errors == (
        f"error: {out} cannot be written: File too large; the results that it holds stay, and "
        "--resume goes on with them.\n"
    )
    assert out.stat().st_size == 100_000
    process = _start(many, bundle, out, "--resume")
    process.communicate(timeout=120)
    _assert_same_results(out, undisturbed / out.name)


# -- heat-maps and jobs ---------------------------------------------------------------------------


def test_heat_maps_are_drawn_by_several_threads_in_order(run, bundle, phantoms, tmp_path):
    out, maps = tmp_path / "results.jsonl", tmp_path / "maps"
    folder = phantoms / "PNEUMONIA"
    answer = run("predict", folder, "--bundle", bundle, "--out", out, "--heatmaps", maps)
    assert answer.code == 0
    records = _read(out)
    assert [record["path"] for record in records] == [
        str(path) for path in sorted(folder.iterdir())
    ]
    for record in records:
        (picture,) = maps.glob(f"{Path(record['path']).stem}-{record['sha256'][:8]}*.jpg")
        with Image.open(picture) as image:
            assert image.width >= 64


@pytest.mark.parametrize("jobs", ["0", "-1", "many"])
def test_jobs_are_a_number_from_one_on(run, bundle, phantoms, jobs):
    assert run("predict", phantoms, "--bundle", bundle, "--jobs", jobs).code == 2
