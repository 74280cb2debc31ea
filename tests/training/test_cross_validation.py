"""Cross-validation: every image is judged by a model that never saw it, whatever interrupts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from pneumoscope.bundle import read_bundle
from pneumoscope.cli.app import app
from pneumoscope.datasets import save_split
from pneumoscope.errors import DataError, RunError
from pneumoscope.training import (
    CrossValidationFolder,
    CrossValidationRequest,
    Silent,
    TrainingRequest,
    cross_validate,
    load_recipe,
    resume_cross_validation,
    train,
)


class TornError(BaseException):
    """Ends a run as a kill does: nothing of ours catches it."""


class Tear(Silent):
    """Tears when a sentence begins so; remembers what was said."""

    def __init__(self, begin: str | None = None, error: type[BaseException] = TornError) -> None:
        self.begin, self.error, self.said = begin, error, []

    def on_message(self, text: str) -> None:
        self.said.append(text)
        if self.begin and text.startswith(self.begin):
            raise self.error


@pytest.fixture(scope="module")
def head_only(quick):
    """A recipe of one stage and one epoch: the head on frozen random layers."""
    recipe = load_recipe("classic", quick, epochs=1)
    return recipe.model_copy(update={"stages": recipe.stages[:1], "ratios": (60, 20, 20)})


@pytest.fixture(scope="module")
def plan(phantoms, head_only, tmp_path_factory) -> CrossValidationRequest:
    out = tmp_path_factory.mktemp("crossed") / "cv"
    run = TrainingRequest(phantoms, out, head_only, weights="none", seed=5)
    return CrossValidationRequest(run, folds=2, seeds=2)


@pytest.fixture(scope="module")
def finished(plan) -> CrossValidationFolder:
    """An undisturbed cross-validation; read-only."""
    return cross_validate(plan, Silent()).folder


def _move(plan: CrossValidationRequest, out: Path) -> CrossValidationRequest:
    return replace(plan, run=replace(plan.run, out=out))


def test_every_image_is_answered_once_a_seed_by_a_model_that_never_saw_it(finished):
    table = pl.read_csv(finished.out_of_fold)
    assert table.columns[:4] == ["path", "label", "patient", "subtype"]
    assert table.group_by("seed").agg(pl.len(), pl.col("path").n_unique()).rows() in (
        [(5, 60, 60), (6, 60, 60)],
        [(6, 60, 60), (5, 60, 60)],
    )
    for seed in (5, 6):
        for index in range(2):
            folder = finished.run(seed, index)
            manifest = pl.read_parquet(folder.manifest)
            answered = set(table.filter(seed=seed, fold=index)["path"])
            assert answered == set(manifest.filter(split="test")["path"])
            learnt = set(read_bundle(folder.bundle).training_images().sha256)
            held = manifest.filter(pl.col("path").is_in(list(answered)))
            assert learnt.isdisjoint(held["sha256"])
            whole = manifest.group_by("patient").agg(pl.col("split").n_unique())
            assert whole["split"].max() == 1
            assert set(manifest["split"]) == {"train", "val", "test"}


def test_answers_and_thresholds_are_those_of_the_folds_own_bundle(finished):
    import pneumoscope

    table = pl.read_csv(finished.out_of_fold)
    for row in table.gather_every(29).iter_rows(named=True):
        predictor = pneumoscope.load(finished.run(row["seed"], row["fold"]).bundle)
        assert row["probability"] == pytest.approx(
            predictor.predict(row["path"]).probability, abs=1e-3
        )
        balanced = predictor.operating_points["balanced"].threshold
        assert row["threshold"] == pytest.approx(balanced)


def test_thresholds_come_from_the_folds_validation_part(finished):
    for seed in (5, 6):
        folder = finished.run(seed, 1)
        metrics = json.loads(folder.metrics.read_text())["baseline"]
        val = pl.read_csv(folder.path / "predictions.csv").filter(split="val")
        called = val["probability"].to_numpy() >= metrics["test"]["threshold"]
        positive = (val["label"] == "PNEUMONIA").to_numpy()
        reached = called[positive].mean() + (~called[~positive]).mean()
        for threshold in val["probability"]:
            other = val["probability"].to_numpy() >= threshold
            assert reached >= other[positive].mean() + (~other[~positive]).mean() - 1e-9


def test_numbers_are_those_of_the_table(finished):
    tree = json.loads(finished.numbers.read_text())
    table = pl.read_csv(finished.out_of_fold)
    assert [(run["seed"], run["fold"]) for run in tree["runs"]] == [
        (seed, str(fold)) for seed in (5, 6) for fold in range(2)
    ]
    aucs = {}
    for run in tree["runs"]:
        rows = table.filter(seed=run["seed"], fold=int(run["fold"]))
        labels = (rows["label"] == "PNEUMONIA").to_numpy()
        aucs[run["seed"], run["fold"]] = roc_auc_score(labels, rows["probability"])
        assert run["auc"] == pytest.approx(aucs[run["seed"], run["fold"]])
        called = (rows["probability"] >= rows["threshold"]).to_numpy()
        assert run["fn"] == (labels & ~called).sum()
        assert (finished.path / run["folder"] / "report.html").is_file()
    values = np.reshape(list(aucs.values()), (2, 2))
    spread = tree["spread"]["auc"]
    assert spread["mean"] == pytest.approx(values.mean())
    assert spread["sd_folds"] == pytest.approx(np.sqrt(values.var(axis=1, ddof=1).mean()))
    assert spread["sd_seeds"] == pytest.approx(values.mean(1).std(ddof=1))
    per_seed = [
        roc_auc_score(rows["label"] == "PNEUMONIA", rows["probability"])
        for rows in (table.filter(seed=5), table.filter(seed=6))
    ]
    assert tree["pooled"]["auc"]["by_seed"] == pytest.approx(per_seed)
    page = finished.page.read_text()
    assert "not a diagnosis" in page
    assert "synthetic phantoms" in page
    assert page.count("report.html") == 4


@pytest.mark.parametrize(
    ("begin", "error"),
    [
        ("Seed 5, fold 0", TornError),  # nothing is trained
        ("baseline: trained", TornError),  # within a fold
        ("Seed 5, fold 1", OSError),  # a full disk between folds
        ("Judging", KeyboardInterrupt),
    ],
)
def test_what_is_torn_ends_as_what_was_not(finished, plan, tmp_path, begin, error):
    plan = replace(_move(plan, tmp_path / "cv"), seeds=1)
    folder = CrossValidationFolder(tmp_path / "cv")
    tear = Tear(begin, error)
    tear.on_progress = lambda title, done, total: tear.on_message(title)
    with pytest.raises(error):
        cross_validate(plan, tear)
    assert not folder.is_finished
    done = [folder.run(5, index).path for index in range(2) if folder.run(5, index).is_finished]
    assert len(done) == (begin == "Seed 5, fold 1")
    kept = {path: path.stat().st_mtime_ns for run in done for path in run.rglob("*")}
    resume_cross_validation(tmp_path / "cv", Silent(), plan)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    whole = pl.read_csv(finished.out_of_fold).filter(seed=5)
    assert pl.read_csv(folder.out_of_fold).equals(whole)
    undisturbed = json.loads(finished.numbers.read_text())["runs"][:2]
    assert json.loads(folder.numbers.read_text())["runs"] == undisturbed


def test_a_kill_while_preparing_leaves_a_folder_that_can_be_started(plan, tmp_path, monkeypatch):
    from pneumoscope.training import cross_validation

    def tear(*_):
        raise TornError

    plan = replace(_move(plan, tmp_path / "cv"), seeds=1)
    with monkeypatch.context() as patch:
        patch.setattr(CrossValidationFolder, "_discard", lambda self: None)  # as after kill -9
        patch.setattr(cross_validation, "write_manifest", tear)
        with pytest.raises(TornError):
            cross_validate(plan, Silent())
    assert (tmp_path / "cv" / "seed-5" / "folds.csv").is_file()
    with pytest.raises(RunError, match="no cross-validation to resume"):
        resume_cross_validation(tmp_path / "cv", Silent())
    other = replace(plan, run=replace(plan.run, seed=8))
    with pytest.raises(TornError):
        cross_validate(other, Tear("Seed 8, fold 0"))
    assert not (tmp_path / "cv" / "seed-5").exists()


def test_a_finished_or_other_one_is_never_overwritten(finished, plan, tmp_path):
    with pytest.raises(RunError, match="is a finished cross-validation"):
        cross_validate(plan, Silent())
    with pytest.raises(RunError, match="is a finished cross-validation"):
        resume_cross_validation(finished.path, Silent())
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds other things, such as note\.txt"):
        cross_validate(_move(plan, tmp_path), Silent())
    started = _move(plan, tmp_path / "cv")
    with pytest.raises(TornError):
        cross_validate(started, Tear("Seed 5, fold 0"))
    with pytest.raises(RunError, match="add --resume"):
        cross_validate(started, Silent())
    with pytest.raises(RunError, match="was started with --folds 2 --seeds 2"):
        resume_cross_validation(tmp_path / "cv", Silent(), replace(started, folds=4))
    with pytest.raises(RunError, match="was started with another `seed`"):
        resume_cross_validation(
            tmp_path / "cv", Silent(), replace(started, run=replace(started.run, seed=1))
        )
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_saved_folds_are_the_folds_of_every_seed(phantoms, plan, tmp_path):
    saved = save_split(phantoms, tmp_path / "folds.csv", folds=2, seed=77)
    plan = _move(plan, tmp_path / "cv")
    plan = replace(plan, run=replace(plan.run, data=saved.file))
    with pytest.raises(TornError):
        cross_validate(plan, Tear("Seed 5, fold 0"))
    folder = CrossValidationFolder(tmp_path / "cv")
    wanted = pl.read_csv(saved.file).select(pl.col("path").str.split("/").list.last(), "fold")
    for seed in (5, 6):
        found = pl.read_csv(folder.folds(seed))
        found = found.select(pl.col("path").str.split("/").list.last(), "fold")
        assert found.sort("path").equals(wanted.sort("path"))
    with pytest.raises(DataError, match=r"has 2 folds \(0, 1\), asked were 5"):
        cross_validate(replace(_move(plan, tmp_path / "other"), folds=5), Silent())
    assert not (tmp_path / "other").exists()


def test_folds_are_not_used_by_a_plain_run_and_it_says_so(phantoms, head_only, tmp_path):
    saved = save_split(phantoms, tmp_path / "folds.csv", folds=2, seed=77)
    request = TrainingRequest(saved.file, tmp_path / "run", head_only, "none", seed=1)
    result = train(request, Silent())
    assert "folds that the data brings are not used" in result.folder.report.read_text()


def test_a_cross_validation_is_not_resumed_as_a_single_run(phantoms, plan, tmp_path):
    with pytest.raises(TornError):
        cross_validate(_move(plan, tmp_path / "cv"), Tear("Seed 5, fold 0"))
    out = str(tmp_path / "cv")
    answer = CliRunner().invoke(app, ["train", str(phantoms), "--out", out, "--resume"])
    assert answer.exit_code == 2
    assert "add its --folds" in " ".join(answer.output.replace("│", " ").split())


# -- the guard ------------------------------------------------------------------------------------


def _by_image(head_only):
    return head_only.model_copy(update={"grouping": "image"})


def test_a_split_by_image_needs_to_be_allowed_and_then_says_so(phantoms, head_only, tmp_path):
    request = TrainingRequest(phantoms, tmp_path / "run", _by_image(head_only), "none", seed=1)
    with pytest.raises(DataError, match=r"leave out grouping=image.*--allow-leakage"):
        train(request, Silent())
    assert not (tmp_path / "run").exists()
    result = train(replace(request, allow_leakage=True), Silent())
    said = "Leakage was allowed (--allow-leakage): "
    assert said in result.folder.report.read_text()
    assert any(w.startswith(said) for w in read_bundle(result.folder.bundle).info.warnings)
    rows = pl.read_csv(result.folder.path / "predictions.csv").filter(split="test")
    manifest = pl.read_parquet(result.folder.manifest)
    train_patients = manifest.filter(split="train")["patient"].to_list()
    assert rows["patient_in_train"].to_list() == [p in train_patients for p in rows["patient"]]
    parts = result.metrics["baseline"]
    leaked = rows.filter(pl.col("patient_in_train") | pl.col("copy_in_train"))
    assert 0 < parts["leaked"]["n"] == leaked.height
    assert parts["leaked"]["n"] + parts["clean"]["n"] == parts["test"]["n"]
    assert parts["leaked"]["fn"] + parts["clean"]["fn"] == parts["test"]["fn"]


def test_a_clean_run_has_no_leaked_part(finished_run):
    rows = pl.read_csv(finished_run / "predictions.csv")
    assert not rows["patient_in_train"].any()
    assert not rows["copy_in_train"].any()
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert "leaked" not in metrics["finetuned"]
    assert "Leakage" not in (finished_run / "report.html").read_text()


def test_given_splits_with_a_patient_on_both_sides_are_refused(phantoms, head_only, tmp_path):
    saved = save_split(phantoms, tmp_path / "s.csv", ratios=(60, 20, 20), seed=2)
    table = pl.read_csv(saved.file)
    many = table.filter(split="test").group_by("patient").len().filter(pl.col("len") > 1)
    patient = many["patient"].sort()[0]
    moved = table.with_row_index().with_columns(
        pl.when(pl.col("index") == table["patient"].to_list().index(patient))
        .then(pl.lit("train"))
        .otherwise("split")
        .alias("split")
    )
    moved.drop("index").write_csv(tmp_path / "torn.csv")
    request = TrainingRequest(tmp_path / "torn.csv", tmp_path / "run", head_only, "none")
    with pytest.raises(DataError, match=rf"1 patient is in more than one split, such as {patient}"):
        train(request, Silent())


def test_copies_across_splits_are_refused(phantoms, head_only, tmp_path):
    """The same pixels under other names and patients, as exact and as saved anew."""
    from PIL import Image

    saved = save_split(phantoms, tmp_path / "s.csv", ratios=(60, 20, 20), seed=2)
    table = pl.read_csv(saved.file)
    first = table.filter(split="test", label="NORMAL").row(0, named=True)
    Image.open(first["path"]).save(tmp_path / "again.png")
    copy = {**first, "path": "again.png", "patient": "somebody", "split": "train"}
    pl.concat([table, pl.DataFrame([copy], table.schema)]).write_csv(tmp_path / "copied.csv")
    request = TrainingRequest(tmp_path / "copied.csv", tmp_path / "run", head_only, "none")
    with pytest.raises(DataError, match=r"1 set of identical or near-identical images straddles"):
        train(request, Silent())
    result = train(replace(request, allow_leakage=True), Silent())
    assert result.metrics["baseline"]["leaked"]["n"] == 1
    assert result.metrics["baseline"]["leaked"]["auc"] is None


def test_leaky_folds_are_refused_before_anything_is_trained(phantoms, head_only, plan, tmp_path):
    run = replace(plan.run, out=tmp_path / "cv", recipe=_by_image(head_only))
    with pytest.raises(DataError, match="--allow-leakage"):
        cross_validate(replace(plan, run=run), Silent())
    assert not (tmp_path / "cv").exists()


def test_a_saved_split_gives_the_same_run(phantoms, head_only, tmp_path):
    """Whether it is drawn by the run or before it."""
    drawn = TrainingRequest(phantoms, tmp_path / "drawn", head_only, "none", seed=3)
    saved = save_split(phantoms, tmp_path / "s.csv", ratios=(60, 20, 20), seed=3)
    results = [
        train(r, Silent()) for r in (drawn, replace(drawn, data=saved.file, out=tmp_path / "saved"))
    ]
    columns = ["split", "probability"]
    one, other = (
        pl.read_csv(r.folder.path / "predictions.csv").sort("path").select(columns) for r in results
    )
    assert one["split"].equals(other["split"])
    assert np.allclose(one["probability"], other["probability"], atol=1e-6)
