"""`pneumoscope predict`: every image gets its answer, in the form that was asked for."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pneumoscope
from pneumoscope import runtime
from pneumoscope.cli._findings import Table
from pneumoscope.errors import ImageError
from pneumoscope.runtime import RECORD_FIELDS, Decision, Finding, Status, WarningCode


@pytest.fixture
def images(phantoms):
    return sorted((phantoms / "NORMAL").iterdir())[:3]


def _read_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_jsonl_is_a_record_a_line(run, bundle, images):
    answer = run("predict", *images, "--bundle", bundle, "--format", "jsonl")
    assert answer.code == 0
    records = _read_lines(answer.out)
    predictor = pneumoscope.load(bundle)
    for record, path in zip(records, images, strict=True):
        expected = predictor.predict(path).to_record()
        assert list(record) == list(RECORD_FIELDS)
        assert record.pop("logit") == pytest.approx(expected.pop("logit"), abs=1e-5)
        assert record.pop("probability") == pytest.approx(expected.pop("probability"), abs=1e-5)
        assert record == expected
    assert answer.err == "3 of 3 images answered\n"


def test_csv_has_the_record_as_columns(run, bundle, images):
    answer = run("predict", *images, "--bundle", bundle, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(rows[0]) == list(RECORD_FIELDS)
    assert [row["path"] for row in rows] == [str(path) for path in images]
    assert {row["warnings"] for row in rows} == {"phantom_model"}
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


def test_the_table_is_for_people(run, bundle, images):
    answer = run("predict", *images, "--bundle", bundle)
    lines = answer.out.splitlines()
    for line, path in zip(lines, images, strict=False):
        decision, probability, shown = line.split(maxsplit=2)
        assert decision in {"NORMAL", "REFER", "PNEUMONIA"}
        assert 0 <= float(probability) <= 1
        assert shown.partition("  ")[0] == str(path)
    assert re.fullmatch(r"Below \S+ NORMAL, from \S+ on PNEUMONIA, between REFER: .*", lines[-3])
    assert "trained on synthetic phantoms" in lines[-2]
    assert lines[-1] == "Research use, not a diagnosis."


def test_the_table_says_which_threshold_decided(run, bundle, images):
    answer = run("predict", images[0], "--bundle", bundle, "--operating-point", "rule_in")
    found = re.search(r"Below (\S+) NORMAL, from (\S+) on PNEUMONIA \(rule_in\)\.", answer.out)
    assert found is not None
    assert found[1] == found[2]


class _Model:
    """What a table asks of a predictor."""

    operating_point = "referral_band"
    threshold, rule_out, rule_in = 0.4, 0.2, 0.6
    warnings = (WarningCode.PHANTOM_MODEL,)


ROWS = [
    Finding("a.png", Status.OK, decision=Decision.NORMAL, probability=0.04, message="not shown"),
    Finding("b.png", Status.OK, decision=Decision.PNEUMONIA, probability=0.99999),
    Finding(
        "ward/c.png",
        Status.OK,
        decision=Decision.REFER,
        probability=0.5,
        message="REFER: probability 0.500, between 0.200 (rule_out) and 0.600 (rule_in): a person "
        "must look.",
    ),
    Finding(
        "d.png",
        Status.OK,
        decision=Decision.REFER,
        probability=0.1234,
        warnings=(WarningCode.PHANTOM_MODEL, WarningCode.OUTSIDE_POPULATION),
        message="REFER: probability 0.123, the image looks unlike all others.",
    ),
    Finding("cat.png", Status.REJECTED, decision=Decision.REJECTED, message="No chest, a cat."),
    Finding("gone.png", Status.ERROR, message="gone.png does not exist."),
]


def test_a_table_is_read_at_a_glance(capsys):
    table = Table(_Model())
    for row in ROWS:
        table.print(row)
    table.close()
    assert (
        capsys.readouterr().out
        == """\
NORMAL      0.040   a.png
PNEUMONIA  >0.9999  b.png
REFER       0.500   ward/c.png  between 0.200 (rule_out) and 0.600 (rule_in)
REFER       0.123   d.png  outside_population  the image looks unlike all others.
REJECTED    –       cat.png  No chest, a cat.
ERROR       –       gone.png  does not exist.

Below 0.200 NORMAL, from 0.600 on PNEUMONIA, between REFER: a person must look.
Warning: The model was trained on synthetic phantoms: its answers mean nothing for people.
Research use, not a diagnosis.
"""
    )


def test_a_narrow_terminal_shows_reasons_below_their_rows(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    table = Table(_Model())
    for row in ROWS:
        table.print(row)
    text = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= 80
    assert "REFER       0.123   d.png  outside_population\n" in text
    assert "\n                    the image looks unlike all others.\n" in text
    assert "REJECTED    –       cat.png  No chest, a cat.\n" in text


def test_folders_are_searched_and_bad_files_do_not_stop_the_rest(run, bundle, mixed):
    answer = run("predict", mixed, "--bundle", bundle, "--format", "jsonl")
    assert answer.code == 1
    records = _read_lines(answer.out)
    status = {
        Path(record["path"]).relative_to(mixed).as_posix(): record["status"] for record in records
    }
    assert status == {
        "a.jpeg": "ok",
        "empty.png": "error",
        "ward/b.jpeg": "ok",
        "ward/cut.jpeg": "error",
        "ward/deep/c.JPG": "ok",
        "ward/text.jpg": "error",
    }
    assert "3 of 6 images answered, 3 left out: " in answer.err


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_missing_file_is_reported_in_its_place(run, bundle, images, tmp_path, form):
    gone = tmp_path / "gone.png"
    answer = run("predict", images[0], gone, images[1], "--bundle", bundle, "--format", form)
    assert answer.code == 1
    lines = answer.out.splitlines()[form == "csv" :]
    assert [str(gone) in line for line in lines[:3]] == [False, True, False]
    assert "does not exist" in lines[1]
    assert "error" in lines[1].lower()


def test_only_bad_files_still_end_with_1(run, bundle, tmp_path):
    answer = run("predict", tmp_path / "gone.png", "--bundle", bundle)
    assert answer.code == 1
    assert "0 of 1 images answered" in answer.err


def test_standard_input_is_read(run, bundle, images):
    answer = run(
        "predict", "-", "--bundle", bundle, "--format", "jsonl", stdin=images[0].read_bytes()
    )
    (record,) = _read_lines(answer.out)
    assert (record["path"], record["status"]) == ("image", "ok")
    assert record["sha256"] == pneumoscope.load(bundle).predict(images[0]).sha256


def test_empty_standard_input_is_a_bad_file(run, bundle):
    answer = run("predict", "-", "--bundle", bundle)
    assert answer.code == 1
    assert "is empty" in answer.out


@pytest.mark.parametrize("name", ["rule_out", "rule_in"])
def test_an_operating_point_can_be_chosen(run, bundle, images, name):
    answer = run(
        "predict", images[0], "--bundle", bundle, "--format", "jsonl", "--operating-point", name
    )
    (record,) = _read_lines(answer.out)
    assert record["operating_point"] == name
    assert record["threshold"] == record[name]


def test_the_other_engine_answers_alike(run, bundle, images):
    found = [
        _read_lines(
            run("predict", *images, "--bundle", bundle, "--format", "jsonl", "--engine", engine).out
        )
        for engine in ("openvino", "onnxruntime")
    ]
    one, two = ([record["probability"] for record in records] for records in found)
    assert one == pytest.approx(two, abs=1e-3)


def test_quiet_leaves_only_results(run, bundle, images):
    answer = run("predict", images[0], "--bundle", bundle, "--quiet")
    assert answer.err == ""
    assert str(images[0]) in answer.out


# -- heat-maps ------------------------------------------------------------------------------------


def test_heat_maps_of_equal_names_do_not_overwrite_each_other(run, bundle, images, tmp_path):
    for ward, image in zip(("one", "two"), images, strict=False):
        (tmp_path / ward).mkdir()
        (tmp_path / ward / "chest.jpeg").write_bytes(image.read_bytes())
    files = [tmp_path / ward / "chest.jpeg" for ward in ("one", "two")]
    answer = run("predict", *files, "--bundle", bundle, "--heatmaps", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 4
    assert sum(name.endswith(".heatmap.jpg") for name in names) == 2
    assert sum(name.endswith(".activation_map.npy") for name in names) == 2
    assert "influence, not the location of pneumonia" in answer.err


def test_heat_maps_have_the_full_resolution_of_their_images(run, bundle, images, tmp_path):
    path = tmp_path / "large.jpeg"
    with Image.open(images[0]) as image:
        image.resize((900, 700)).save(path)
    run("predict", path, "--bundle", bundle, "--heatmaps", tmp_path / "out")
    (picture,) = (tmp_path / "out").glob("*.jpg")
    with Image.open(picture) as image:
        assert image.width == 900
        assert image.height > 700
    (raw,) = (tmp_path / "out").glob("*.npy")
    assert np.load(raw).shape == (2, 2)


def test_bad_files_get_no_heat_map(run, bundle, mixed, tmp_path):
    assert run("predict", mixed, "--bundle", bundle, "--heatmaps", tmp_path / "out").code == 1
    stems = {path.name.split("-")[0] for path in (tmp_path / "out").iterdir()}
    assert stems == {"a", "b", "c"}


def test_a_long_name_keeps_its_heat_map(run, bundle, images, tmp_path):
    path = tmp_path / f"{'胸' * 80}.jpeg"
    path.write_bytes(images[0].read_bytes())
    answer = run("predict", path, images[1], "--bundle", bundle, "--heatmaps", tmp_path / "out")
    assert answer.code == 0
    names = [file.name for file in (tmp_path / "out").glob("*.jpg")]
    assert len(names) == 2
    assert any(name.startswith("胸胸") for name in names)


def test_a_heat_map_that_fails_does_not_end_the_rest(run, bundle, images, tmp_path, monkeypatch):
    save = runtime.save_heatmap

    def save_but_the_first(folder, finding, image):
        if str(image) == str(images[0]):
            raise ImageError(f"{image} has changed since it was answered.")
        return save(folder, finding, image)

    monkeypatch.setattr(runtime, "save_heatmap", save_but_the_first)
    answer = run("predict", *images[:3], "--bundle", bundle, "--heatmaps", tmp_path / "out")
    assert answer.code == 1
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 2
    assert len([row for row in answer.out.splitlines() if ".jpeg" in row]) == 3
    assert "has changed since it was answered" in answer.err


def test_a_place_that_cannot_be_written_is_one_sentence(run, bundle, images, tmp_path):
    (tmp_path / "file").touch()
    answer = run("predict", images[0], "--bundle", bundle, "--heatmaps", tmp_path / "file" / "in")
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
@pytest.mark.parametrize(
    "name",
    ["[bold]x[red].jpeg", ":smile:.jpeg", "Röntgen \u2603.jpeg", "a\x1b[31m.jpeg", "b\n.jpeg"],
)
def test_any_name_is_printed_as_it_is_and_gives_no_orders(
    run, bundle, images, tmp_path, name, form
):
    path = tmp_path / name
    path.write_bytes(images[0].read_bytes())
    answer = run("predict", path, "--bundle", bundle, "--format", form, "--quiet")
    assert answer.code == 0
    if form == "jsonl":
        assert _read_lines(answer.out)[0]["path"] == str(path)
    elif form == "csv":
        assert next(csv.DictReader(io.StringIO(answer.out)))["path"] == str(path)
    else:
        assert name.replace("\x1b", "?").replace("\n", "?") in answer.out
        assert "\x1b" not in answer.out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only names of text")
@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_name_that_is_no_text_is_answered_too(run, bundle, images, tmp_path, form):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpeg")
    with open(path, "wb") as stream:  # noqa: PTH123
        stream.write(images[0].read_bytes())
    answer = run("predict", path, "--bundle", bundle, "--format", form)
    assert answer.code == 0
    if form == "jsonl":
        assert _read_lines(answer.out)[0]["path"] == path


def test_one_bad_name_is_an_error_and_the_rest_goes_on(run, bundle, phantoms, tmp_path):
    good = next((phantoms / "NORMAL").iterdir())
    (tmp_path / "empty").mkdir()
    names = ["n" * 300 + ".jpg", tmp_path / "empty", good]
    done = run("predict", *names, "--bundle", bundle, "--format", "csv")
    assert done.code == 1
    assert [row["status"] for row in csv.DictReader(done.out.splitlines())] == [
        "error", "error", "ok",
    ]  # fmt: skip
    assert run("predict", "", good, "--bundle", bundle).code == 2


def test_a_folder_that_cannot_be_searched_is_an_error(run, bundle, phantoms, tmp_path, monkeypatch):
    (tmp_path / "all" / "locked").mkdir(parents=True)
    shutil.copy(next((phantoms / "NORMAL").iterdir()), tmp_path / "all")
    search = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):  # root may read every folder
            raise PermissionError(13, "Permission denied", str(path))
        return search(path)

    monkeypatch.setattr(os, "scandir", refuse)
    done = run("predict", tmp_path / "all", "--bundle", bundle, "--format", "csv")
    assert done.code == 1
    rows = list(csv.DictReader(done.out.splitlines()))
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[1]["path"].endswith("locked")
