"""Every command: its help, its answer, and one sentence where it cannot."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest
import typer.main

from pneumoscope import _extras
from pneumoscope.cli import app

ROOT = Path(__file__).parents[2]


def _list_commands():
    def walk(path, command):
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(f"{path} {name}", inner)

    return dict(walk("pneumoscope", typer.main.get_command(app)))


COMMANDS = _list_commands()


# -- help and generated pages ---------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_has_a_help_text(path):
    command = COMMANDS[path]
    assert len(command.help or "") > 20
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name} has no help"


@pytest.mark.parametrize("path", COMMANDS)
def test_help_is_printed(run, path):
    answer = run(*path.split()[1:], "--help")
    assert answer.code == 0
    assert "Usage" in answer.out
    assert answer.err == ""


@pytest.mark.parametrize(
    ("script", "page"),
    [
        ("generate_cli_reference.py", "docs/reference/cli.md"),
        ("sync_requirements.py", "requirements.txt"),
    ],
)
def test_generated_files_are_up_to_date(script, page):
    render = runpy.run_path(str(ROOT / "scripts" / script))["render"]
    assert render() == (ROOT / page).read_text(encoding="utf-8"), "run `make docs`"


# -- misuse ---------------------------------------------------------------------------------------

MISUSE = [
    ("nosuch", "No such command"),
    ("predict", "Missing argument"),
    ("predict x.png --formt csv --bundle BUNDLE", "No such option: --formt"),
    ("predict x.png --format xml --bundle BUNDLE", "'xml' is not one of"),
    ("predict x.png --bundle nowhere", "There is no bundle at nowhere"),
    ("predict x.png --bundle PHANTOMS", "is not a bundle"),
    ("predict x.png --bundle BUNDLE --operating-point best", "it has rule_out, balanced, rule_in"),
    ("predict x.png --bundle BUNDLE --engine tensorrt", "openvino or onnxruntime"),
    ("predict x.png --bundle BUNDLE --precision int4", "--precision takes fp32"),
    ("predict EMPTY --bundle BUNDLE", "holds no image"),
    ("evaluate BUNDLE PHANTOMS", "Missing option '--out'"),
    ("evaluate BUNDLE nowhere --out new", "nowhere does not exist"),
    ("evaluate nowhere PHANTOMS --out new", "There is no bundle at nowhere"),
    ("evaluate BUNDLE EMPTY --out new", "has no layout that is known"),
    ("evaluate BUNDLE PHANTOMS --out new --robustness-images 1", "greater than or equal to 2"),
    ("evaluate BUNDLE PHANTOMS --out new --split tset", "takes train, val, test or all"),
    ("evaluate BUNDLE PHANTOMS --out PHANTOMS", "holds other things"),
    ("evaluate BUNDLE PHANTOMS --out new --layout heap", "'heap' is not one of"),
    ("evaluate BUNDLE PHANTOMS --out new --compare EMPTY", "holds no finished evaluation"),
    ("evaluate BUNDLE PHANTOMS --out new --compare nowhere.csv", "nowhere.csv is not a readable"),
    ("evaluate BUNDLE PHANTOMS --out new --subgroup sex", "no column 'sex' to make subgroups of"),
    ("evaluate BUNDLE PHANTOMS --out new --prevalence 5", "between 0 and 1, such as 0.05"),
    ("data phantom new -n 3", "found 3"),
    ("data phantom new --size 8", "found 600, 8"),
    ("data phantom new --seed -1", "greater than or equal to 0"),
    ("data reorganize nowhere new", "nowhere does not exist"),
    ("data reorganize PHANTOMS new --ratios half", "half"),
    ("data reorganize PHANTOMS new --group hospital", "'hospital' is not one of"),
    ("data fetch --archive nowhere.zip --out new", "nowhere.zip"),
    ("train", "name the data to train on"),
    ("train nowhere --out new", "nowhere does not exist"),
    ("train PHANTOMS --out new --set baseline.epoch=3", "did you mean 'baseline.epochs'?"),
    ("train PHANTOMS --out new --set finetuned.learnig_rate=1", "'finetuned.learning_rate'?"),
    ("train PHANTOMS --out new --set dropuot=0.1", "did you mean 'dropout'?"),
    ("train PHANTOMS --out new --set dropout", "--set takes key=value"),
    ("train PHANTOMS --out new --set dropout=2", "dropout"),
    ("train PHANTOMS --out new --recipe fancy", "choose classic or robust"),
    ("train PHANTOMS --out new --epochs 0", "at least 1"),
    ("train PHANTOMS --out new --weights nowhere.pth", "nowhere.pth"),
    ("train --resume --out nowhere", "nowhere"),
    ("bundle show nowhere", "There is no bundle at nowhere"),
    ("bundle verify EMPTY", "is not a bundle"),
    ("runs compare EMPTY", "is not a finished run"),
    ("runs compare", "Missing argument"),
    ("cache clear attic", "There is no cache 'attic': choose activations"),
]


@pytest.mark.parametrize(("line", "sentence"), MISUSE, ids=[line for line, _ in MISUSE])
def test_misuse_is_answered_in_one_sentence(
    run, bundle, phantoms, tmp_path, monkeypatch, line, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"BUNDLE": bundle, "PHANTOMS": phantoms, "EMPTY": tmp_path / "empty"}
    answer = run(*(places.get(word, word) for word in line.split()))
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.out == ""
    if "Usage:" not in answer.err:
        assert answer.err.splitlines()[-1].startswith("error: ")  # training says more before
        assert answer.err.count("error: ") == 1
        assert answer.err.endswith((".\n", "?\n"))
    if not line.startswith("train"):
        assert not (tmp_path / "new").exists()  # nothing half made is left


def test_a_bare_command_shows_help_on_the_way_to_2(run):
    for arguments in ((), ("data",), ("bundle",), ("runs",), ("cache",)):
        answer = run(*arguments)
        assert answer.code == 2
        assert "Usage" in answer.out + answer.err


def test_ctrl_c_ends_with_130(run, bundle, phantoms, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pneumoscope.runtime.load", interrupt)
    answer = run("predict", phantoms, "--bundle", bundle)
    assert answer.code == 130
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("train PHANTOMS --out new", "train"),
        ("evaluate BUNDLE PHANTOMS --out new", "evidence"),
        ("data phantom new", "evidence"),
        ("data reorganize PHANTOMS new", "evidence"),
        ("runs compare RUN", "train"),
        ("predict x.png --bundle BUNDLE --engine onnxruntime", "onnxruntime"),
    ],
)
def test_a_missing_extra_is_named_with_its_remedy(
    run, bundle, finished_run, phantoms, tmp_path, monkeypatch, line, extra
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_extras.importlib.util, "find_spec", lambda name: None)
    places = {"BUNDLE": bundle, "PHANTOMS": phantoms, "RUN": finished_run}
    answer = run(*(places.get(word, word) for word in line.split()))
    assert answer.code == 2
    assert f"pip install 'pneumoscope[{extra}]'." in answer.err
    assert answer.err.count("\n") == 1


# -- evaluate -------------------------------------------------------------------------------------


def test_evaluate_says_what_was_missed_first(run, bundle, phantoms, tmp_path):
    answer = run("evaluate", bundle, phantoms, "--out", tmp_path / "out")
    assert answer.code == 0
    lines = answer.out.splitlines()
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())["finetuned"]["all"]
    assert lines[0] == (
        f"Missed {numbers['fn']} of 30 pneumonias, {numbers['fp']} false alarms on 30 normal "
        "images."
    )
    assert lines[1].startswith(f"AUC          {numbers['auc']:.3f}  (95 % interval ")
    assert lines[-1] == "Research use, not a diagnosis."
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in lines
    assert "Warning: " in answer.err
    assert "the numbers are too good" in answer.err


def test_evaluate_says_how_two_models_differ(run, bundle, phantoms, tmp_path):
    run("evaluate", bundle, phantoms, "--out", tmp_path / "old", "--quiet")
    asked = ("--compare", tmp_path / "old", "--subgroup", "block", "--prevalence", "0.1")
    answer = run("evaluate", bundle, phantoms, "--out", tmp_path / "new", "--quiet", *asked)
    assert answer.code == 0
    tree = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert tree["sentence"] in answer.out
    assert "on the same 60 images: AUC" in answer.out
    numbers = json.loads((tmp_path / "new" / "metrics.json").read_text())["finetuned"]["all"]
    assert "block" in numbers["subgroups"]
    assert [answer["prevalence"] for answer in numbers["at_0.5"]["at_prevalences"]] == [0.1]


def test_evaluate_ends_with_1_where_images_were_left_out(run, bundle, phantoms, tmp_path):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for file in sorted((phantoms / label).iterdir())[:3]:
            shutil.copy(file, tmp_path / "data" / label)
    (tmp_path / "data" / "NORMAL" / "broken.png").write_bytes(b"no image")
    answer = run("evaluate", bundle, tmp_path / "data", "--out", tmp_path / "out", "--quiet")
    assert answer.code == 1
    assert "1 image was left out" in answer.err
    assert "on 3 normal images." in answer.out


def test_evaluate_takes_a_split_of_one_image_of_each_class(run, bundle, phantoms, tmp_path):
    for label in ("NORMAL", "PNEUMONIA"):
        for split, part in (("train", slice(0, 2)), ("test", slice(2, 3))):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for file in sorted((phantoms / label).iterdir())[part]:
                shutil.copy(file, tmp_path / "data" / split / label)
    answer = run("evaluate", bundle, tmp_path / "data", "--out", tmp_path / "out")
    assert answer.code == 0
    assert "AUC " in answer.out


def test_evaluate_says_what_breaks_a_model_first(run, bundle, phantoms, tmp_path):
    options = ("--robustness", "--robustness-images", 8, "--seed", 3)
    answer = run("evaluate", bundle, phantoms, "--out", tmp_path / "out", *options)
    assert answer.code == 0
    tree = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert tree["sentence"] in answer.out.splitlines()
    assert 4 <= tree["images"] <= 8
    assert (tree["seed"], len(tree["shifts"])) == (3, 17)


# -- data, bundle, runs, cache, doctor ------------------------------------------------------------


def test_phantoms_are_drawn_and_split(run, tmp_path):
    made = run("data", "phantom", tmp_path / "set", "-n", 40, "--size", 64, "--seed", 5)
    assert made.code == 0
    assert made.out.startswith("20 NORMAL, 20 PNEUMONIA in ")
    assert "for demonstrations and tests only" in made.out
    again = run("data", "phantom", tmp_path / "set", "-n", 40, "--size", 64, "--seed", 5)
    assert "as before" in again.out

    split = ("data", "reorganize", tmp_path / "set", tmp_path / "split", "--ratios", "60/20/20")
    first = run(*split)
    assert first.code == 0
    table = {line.split()[0]: line.split()[1:] for line in first.out.splitlines()[1:4]}
    assert list(table) == ["train", "val", "test"]
    assert sum(int(n) for row in table.values() for n in row) == 40
    for name, counts in table.items():
        for label, count in zip(("NORMAL", "PNEUMONIA"), counts, strict=True):
            assert len(list((tmp_path / "split" / name / label).iterdir())) == int(count)
    assert first.out.splitlines()[-1] == str(tmp_path / "split")
    second = run(*split)
    assert second.out == first.out
    assert "nothing was changed" in second.err
    other = run(*split, "--seed", 1)
    assert other.code == 2
    assert "other settings" in other.err


def test_a_bundle_is_shown_and_verified(run, bundle, tmp_path):
    shown = run("bundle", "show", bundle)
    assert shown.code == 0
    assert "synthetic phantoms" in shown.out
    assert "balanced (decides alone)" in shown.out
    assert run("bundle", "verify", bundle).out.endswith("all as written.\n")
    shutil.copytree(bundle, tmp_path / "copy")
    with (tmp_path / "copy" / "model.safetensors").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\0\1\2\3")
    damaged = run("bundle", "verify", tmp_path / "copy")
    assert damaged.code == 2
    assert "model.safetensors is damaged" in damaged.err
    assert damaged.err.count("\n") == 1
    refused = run("predict", "x.png", "--bundle", tmp_path / "copy")
    assert refused.code == 2
    assert "model.safetensors is damaged" in refused.err


def test_the_model_in_the_box_has_a_name(run):
    import pneumoscope

    assert pneumoscope.load("bundled").bundle.info.name == pneumoscope.load().bundle.info.name
    assert run("bundle", "verify", "bundled").out.endswith("all as written.\n")
    shown = run("bundle", "show", "bundled")
    assert "Kermany" in shown.out
    assert "CC-BY-4.0" in shown.out
    refused = run("bundle", "annotate", "bundled")
    assert refused.code == 2
    assert "name a folder for the new one with --out" in refused.err


def test_runs_are_compared(run, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "other", ignore=shutil.ignore_patterns("bundle"))
    config = (tmp_path / "other" / "config.yaml").read_text()
    (tmp_path / "other" / "config.yaml").write_text(config.replace("dropout: 0.2", "dropout: 0.4"))
    answer = run("runs", "compare", finished_run, tmp_path / "other")
    assert answer.code == 0
    differing = [line for line in answer.out.splitlines() if "dropout" in line]
    assert len(differing) == 1
    assert "0.2" in differing[0]
    assert "0.4" in differing[0]
    assert "test auc" in answer.out


def test_one_run_alone_is_not_compared(run, finished_run):
    answer = run("runs", "compare", finished_run)
    assert answer.code == 2
    assert "two run folders or more" in answer.err


def test_caches_are_shown_and_cleared(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path))
    for name in ("pixels", "weights"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(2_000_000))
    (tmp_path / "mine.txt").write_text("not a cache")
    assert "pixels              2.0 MB" in run("cache", "show").out
    assert run("cache", "clear", "pixels").out == "Freed 2.0 MB.\n"
    assert not (tmp_path / "pixels").exists()
    assert (tmp_path / "weights" / "file").is_file()
    assert run("cache", "clear").out == "Freed 2.0 MB.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert run("cache", "clear").out == "Freed 0.0 MB.\n"


def test_doctor_tells_what_there_is(run):
    answer = run("doctor")
    assert answer.code == 0
    for word in ("openvino", "evidence", "cores", "caches", "free disk", "kaggle token"):
        assert word in answer.out
    facts = json.loads(run("doctor", "--json").out)
    assert set(facts) == {"model", "installed", "extras", "hardware", "places"}
    assert facts["extras"]["train"] == "yes"


def test_doctor_names_what_is_missing(run, monkeypatch):
    from pneumoscope.cli import doctor

    monkeypatch.setitem(doctor._EXTRAS, "train", ("torch", "no_such_module"))
    facts = json.loads(run("doctor", "--json").out)
    assert facts["extras"]["train"] == "pip install 'pneumoscope[train]' (no_such_module missing)"
