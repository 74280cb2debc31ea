"""A file of results is whole after any kill, and ends as if there had been none."""

from __future__ import annotations

import csv
import io
import json

import pytest

from pneumoscope.errors import PneumoscopeError
from pneumoscope.runtime import Decision, Finding, ResultsFile, Status, WarningCode

FACTS = {"bundle": "a" * 64, "precision": "fp32", "operating_point": "referral_band"}
FORMS = pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
NAMES = ["a.png", 'b"\n",c.png', "d\r.png", "Röntgen \u2028.png", "e\udcff.png", "=f,g.png"]


def _find(path, status=Status.OK, **changes):
    answer = {"decision": Decision.NORMAL, "probability": 0.25, "logit": -1.5}
    if status is not Status.OK:
        answer = {"decision": Decision.REJECTED if status is Status.REJECTED else None}
    warnings = (WarningCode.PHANTOM_MODEL, WarningCode.OUTSIDE_POPULATION)
    return Finding(
        path=path,
        status=status,
        message=f"{path}, in a sentence.",
        warnings=warnings,
        **answer,
        **(FACTS | changes),
    )


def _write(path, findings, order=None, **options):
    findings = list(findings)
    with ResultsFile(path, FACTS, **options) as results:
        for finding in findings:
            if not results.holds(finding.path):
                results.add(finding)
        results.sort(order or [finding.path for finding in findings])
        return results.counts


def _read_paths(path):
    text = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        return [json.loads(line)["path"] for line in text.split("\n")[:-1]]
    return [row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))]


@FORMS
def test_every_name_comes_back(tmp_path, suffix):
    out = tmp_path / "new" / f"results{suffix}"
    counts = _write(out, map(_find, NAMES))
    as_text = [name.encode(errors="backslashreplace").decode() for name in NAMES]
    assert _read_paths(out) == (NAMES if suffix == ".jsonl" else as_text)
    assert counts == {"NORMAL": len(NAMES)}


@FORMS
def test_a_file_cut_anywhere_ends_as_if_it_had_not_been(tmp_path, suffix):
    statuses = [Status.OK, Status.REJECTED, Status.ERROR] * 2
    findings = [_find(*pair) for pair in zip(NAMES, statuses, strict=True)]
    counts = _write(tmp_path / f"whole{suffix}", findings)
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    ends = {place for place, byte in enumerate(whole) if byte in b'\n"'}
    for length in sorted({0, 1, *ends, *(end + 1 for end in ends), *range(0, len(whole), 50)}):
        out = tmp_path / f"cut{suffix}"
        out.write_bytes(whole[:length])
        assert _write(out, findings, resume=True) == counts
        assert out.read_bytes() == whole, length


@FORMS
def test_what_could_not_be_read_is_tried_again_and_stands_once_in_its_place(tmp_path, suffix):
    out = tmp_path / f"results{suffix}"
    _write(out, [_find("a"), _find("b", Status.ERROR), _find("c")])
    counts = _write(out, [_find("a"), _find("b"), _find("c")], resume=True)
    assert _read_paths(out) == ["a", "b", "c"]
    assert counts == {"NORMAL": 3}


@FORMS
def test_a_row_is_in_the_file_as_soon_as_it_was_added(tmp_path, suffix):
    out = tmp_path / f"results{suffix}"
    with ResultsFile(out, FACTS) as results:
        for number in range(3):
            results.add(_find(f"{number}"))
            assert len(_read_paths(out)) == number + 1
            assert out.read_bytes().endswith(b"\n")


@FORMS
def test_rows_of_images_no_longer_named_are_kept(tmp_path, suffix):
    out = tmp_path / f"results{suffix}"
    _write(out, map(_find, ["gone", "b"]))
    _write(out, map(_find, ["a", "b", "c"]), resume=True)
    assert _read_paths(out) == ["gone", "a", "b", "c"]


@FORMS
@pytest.mark.parametrize("name", list(FACTS))
def test_results_of_another_model_are_left_as_they_are(tmp_path, suffix, name):
    out = tmp_path / f"results{suffix}"
    out.touch()
    other = FACTS | {name: "another"}
    with ResultsFile(out, other, resume=True) as results:
        results.add(_find("a", Status.ERROR, **{name: "another"}))
    before = out.read_bytes()
    with pytest.raises(PneumoscopeError, match=f"made with {name.replace('_', ' ')} another, not"):
        ResultsFile(out, FACTS, resume=True)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("other.csv", b"path,label\na.png,1\n"),
        ("other.jsonl", b'{"path": "a.png"}\n'),
        ("list.jsonl", b"[1]\n"),
        ("text.jsonl", b"hello\nworld\n"),
        ("bytes.csv", b"\xff\xfe\x00\n"),
    ],
)
def test_files_of_anything_else_are_left_as_they_are(tmp_path, name, content):
    out = tmp_path / name
    out.write_bytes(content)
    with pytest.raises(PneumoscopeError, match="holds something else than results of this version"):
        ResultsFile(out, FACTS, resume=True)
    assert out.read_bytes() == content


@FORMS
def test_a_file_that_is_there_is_only_touched_on_demand(tmp_path, suffix):
    out = tmp_path / f"results{suffix}"
    _write(out, [_find("a")])
    with pytest.raises(PneumoscopeError, match="exists: add --resume to go on with it"):
        ResultsFile(out, FACTS)
    assert _read_paths(out) == ["a"]


@FORMS
@pytest.mark.parametrize("damage", [b"", b'{"torn'])
def test_one_run_at_a_time_writes_a_file(tmp_path, suffix, damage):
    out = tmp_path / f"results{suffix}"
    _write(out, [_find("a")])
    out.write_bytes(out.read_bytes() + damage)  # mending it puts a new file in its place
    with (
        ResultsFile(out, FACTS, resume=True),
        pytest.raises(PneumoscopeError, match="in use by another run"),
    ):
        ResultsFile(out, FACTS, resume=True)
    with ResultsFile(out, FACTS, resume=True) as results:
        assert results.holds("a")


def test_only_these_two_forms_are_written(tmp_path):
    with pytest.raises(PneumoscopeError, match=r"ends with \.csv or \.jsonl: .*results\.txt"):
        ResultsFile(tmp_path / "results.txt", FACTS)
    assert not list(tmp_path.iterdir())
