"""`data split` and `train --folds` through the app: what is typed, printed and refused."""

from __future__ import annotations

import pytest


@pytest.fixture
def folds_of(run, phantoms, tmp_path):
    def save(*arguments):
        return run("data", "split", phantoms, "--out", tmp_path / "split.csv", *arguments)

    return save


def test_a_split_is_saved_and_printed(folds_of, tmp_path):
    answer = folds_of("--ratios", "60/20/20", "--seed", 4)
    assert answer.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines()[1:4]}
    assert list(rows) == ["train", "val", "test"]
    assert sum(int(n) for counts in rows.values() for n in counts) == 60
    assert answer.out.splitlines()[-1] == str(tmp_path / "split.csv")
    again = folds_of("--ratios", "60/20/20", "--seed", 4)
    assert again.out == answer.out
    assert "nothing was changed" in again.err
    other = folds_of("--ratios", "60/20/20", "--seed", 5)
    assert other.code == 2
    assert "holds another split" in other.err
    assert other.err.count("\n") == 1


def test_folds_are_saved_and_printed(folds_of):
    answer = folds_of("--folds", 3)
    assert answer.code == 0
    assert [line.split()[:2] for line in answer.out.splitlines()[1:4]] == [
        ["fold", "0"], ["fold", "1"], ["fold", "2"],
    ]  # fmt: skip


def test_a_split_by_image_says_what_it_gives_away(folds_of):
    assert "have their patient in train" in folds_of("--group", "image").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--folds", 3, "--ratios", "80/10/10"), "give one of them"),
        (("--group", "site"), "All images are of one site, 'phantom'"),
        (("--folds", 1), "at least 2 folds"),
        (("--group", "hospital"), "hospital"),
    ],
)
def test_what_makes_no_split_is_refused(folds_of, tmp_path, arguments, message):
    answer = folds_of(*arguments)
    assert answer.code == 2
    assert message in " ".join(answer.err.replace("│", " ").split())
    assert not (tmp_path / "split.csv").exists()


def test_seeds_repeat_folds_only(run, phantoms, tmp_path):
    answer = run("train", phantoms, "--out", tmp_path / "run", "--seeds", 3)
    assert answer.code == 2
    assert "add --folds" in answer.err


def test_a_leak_is_one_sentence_with_the_way_on(run, phantoms, tmp_path):
    settings = ("--set", "grouping=image", "--set", "preprocessing.size=64")
    answer = run("train", phantoms, "--out", tmp_path / "run", "--weights", "none", *settings)
    assert answer.code == 2
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "--allow-leakage" in last
    assert not (tmp_path / "run").exists()


def test_an_allowed_leak_is_a_warning_of_every_later_evaluation(run, phantoms, tmp_path):
    settings = ("grouping=image", "preprocessing.size=64", "precision=fp32")
    wanted = [part for setting in settings for part in ("--set", setting)]
    command = ("train", phantoms, "--out", tmp_path / "run", "--weights", "none", *wanted)
    answer = run(*command, "--epochs", 1, "--allow-leakage")
    assert answer.code == 0, answer.err
    assert "Taken as it is (--allow-leakage)" in answer.err
    judged = run("evaluate", tmp_path / "run" / "bundle", phantoms, "--out", tmp_path / "out")
    assert "Warning: Leakage was allowed (--allow-leakage)" in judged.err
    assert "Leakage was allowed" in (tmp_path / "out" / "report.html").read_text()


def test_folds_are_trained_and_gone_on_with(run, phantoms, tmp_path):
    out = tmp_path / "cv"
    settings = ("preprocessing.size=64", "precision=fp32", "baseline.batch_size=8")
    wanted = [part for setting in settings for part in ("--set", setting)]
    command = ("train", phantoms, "--out", out, "--folds", 2, "--weights", "none", *wanted)
    command = (*command, "--epochs", 1, "--quiet")
    answer = run(*command)
    assert answer.code == 0, answer.err
    assert "All 60 images out of fold" in answer.out
    assert answer.out.rstrip().endswith("Research use, not a diagnosis.")
    refused = run(*command, "--resume")
    assert refused.code == 2
    assert "is a finished cross-validation" in refused.err
    (out / "cross_validation.html").unlink()  # as if killed at the very end
    again = run("train", "--resume", "--out", out, "--quiet")
    assert again.out == answer.out
