"""A run from data to report: what it leaves, what it refuses, and that nothing can break it."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from pneumoscope._files import hash_file
from pneumoscope.bundle import read_bundle
from pneumoscope.cli.app import app
from pneumoscope.errors import DataError, RunError, WeightsError
from pneumoscope.training import (
    RunFolder,
    Silent,
    TrainingRequest,
    compare_runs,
    load_recipe,
    resume,
    train,
)

COMMAND = [sys.executable, "-m", "pneumoscope"]
SEED = "2"  # that of `finished_run`, which runs are compared with


def test_the_run_folder_holds_everything(finished_run):
    names = {path.name for path in finished_run.iterdir()}
    assert names >= {
        "config.yaml", "environment.json", "manifest.parquet", "history.csv", "metrics.json",
        "predictions.csv", "figures", "report.html", "bundle", "logs",
    }  # fmt: skip
    assert "state" not in names
    assert list((finished_run / "logs").glob("events*"))
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert config["recipe"]["preprocessing"]["size"] == 64
    environment = json.loads((finished_run / "environment.json").read_text())
    assert environment["threads"] == 1
    assert environment["packages"]["torch"]


def test_the_history_has_a_row_an_epoch_of_both_stages(finished_run):
    with (finished_run / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["stage"], r["epoch"]) for r in rows] == [
        ("baseline", "1"), ("baseline", "2"), ("finetuned", "1"), ("finetuned", "2"),
    ]  # fmt: skip
    assert set(rows[0]) == {
        "stage", "epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_auc",
        "val_sensitivity", "lr", "seconds",
    }  # fmt: skip


def test_no_patient_is_in_two_splits(finished_run):
    frame = pl.read_parquet(finished_run / "manifest.parquet")
    assert frame.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1


def test_metrics_hold_both_stages_and_the_final_one(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert metrics["final"] == "finetuned"
    for stage in ("baseline", "finetuned"):
        for split in ("val", "test"):
            numbers = metrics[stage][split]
            assert numbers["n"] == numbers["tn"] + numbers["fp"] + numbers["fn"] + numbers["tp"]
            assert "auc" in numbers["intervals"]


def test_the_bundle_answers_as_the_run_was_judged(finished_run):
    import pneumoscope

    rows = pl.read_csv(finished_run / "predictions.csv").filter(pl.col("stage") == "finetuned")
    predictor = pneumoscope.load(finished_run / "bundle")
    for row in rows.head(8).iter_rows(named=True):
        finding = predictor.predict(row["path"])
        assert finding.probability == pytest.approx(row["probability"], abs=1e-3)


def test_the_bundle_remembers_what_it_was_trained_on(finished_run):
    frame = pl.read_parquet(finished_run / "manifest.parquet")
    hashes = read_bundle(finished_run / "bundle").training_images().sha256
    assert set(frame.filter(pl.col("split") != "test")["sha256"]) == set(hashes)


def test_weights_that_saw_a_test_image_are_refused(finished_run, phantoms, quick, tmp_path):
    # Another seed splits the same images otherwise, so that test images are among the seen ones.
    request = TrainingRequest(
        phantoms,
        tmp_path / "run",
        load_recipe("classic", quick, 1),
        str(finished_run / "bundle"),
        9,
    )
    with pytest.raises(WeightsError, match="test images"):
        train(request, Silent())


def test_a_finished_or_foreign_folder_is_never_overwritten(finished_run, phantoms, quick, tmp_path):
    recipe = load_recipe("classic", quick)
    with pytest.raises(RunError, match="finished"):
        train(TrainingRequest(phantoms, finished_run, recipe, "none"), Silent())
    with pytest.raises(RunError, match="finished"):
        resume(finished_run, Silent())
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds other things, such as note\.txt"):
        train(TrainingRequest(phantoms, tmp_path, recipe, "none"), Silent())
    assert (tmp_path / "note.txt").read_text() == "mine"
    with pytest.raises(RunError, match="no training run to resume"):
        resume(tmp_path, Silent())


def test_a_run_that_fails_before_its_start_leaves_nothing(phantoms, quick, tmp_path):
    recipe, out = load_recipe("classic", quick, 1), tmp_path / "run"
    with pytest.raises(DataError, match="does not exist"):
        train(TrainingRequest(tmp_path / "nowhere", out, recipe, "none"), Silent())
    assert not out.exists()


def test_a_run_killed_before_its_start_can_be_started_again(phantoms, quick, tmp_path):
    out = tmp_path / "run"
    (out / "state").mkdir(parents=True)
    (out / "state" / "initial.pt").write_bytes(b"half")
    (out / "environment.json").write_text("{}")
    train(TrainingRequest(phantoms, out, load_recipe("classic", quick, 1), "none"), Silent())
    assert (out / "report.html").is_file()


def test_comparing_runs_names_what_differs(finished_run):
    comparison = compare_runs([finished_run, finished_run])
    assert comparison.settings == ()
    assert comparison.same_test
    assert comparison.numbers[0][0] == "val n"
    with pytest.raises(RunError, match="not a finished run"):
        compare_runs([finished_run / "bundle"])


def _start(
    phantoms: Path, out: Path, cache: Path, resume_it: bool, quick: tuple[str, ...]
) -> subprocess.Popen:
    arguments = ["train", "--out", str(out), "--quiet"]
    if resume_it:
        arguments.append("--resume")
    else:
        settings = [part for setting in quick for part in ("--set", setting)]
        arguments += [str(phantoms), "--weights", "none", "--seed", SEED, *settings]
    environment = os.environ | {"PNEUMOSCOPE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        COMMAND + arguments,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(finished_run, phantoms, quick, tmp_path):
    """Ten runs' worth of kill -9, then the same weight file as the undisturbed run."""
    generator = random.Random(4)
    out, kills = tmp_path / "killed", 0
    while kills < 10:
        process = _start(phantoms, out, tmp_path / "cache", (out / "config.yaml").is_file(), quick)
        try:
            # Starting takes a few seconds; kills fall before, within and between the stages.
            process.wait(timeout=generator.uniform(2.0, 9.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0, process.stderr.read()
        finally:
            process.stderr.close()
        if kills < 10 and RunFolder(out).is_finished:  # a kill may also fall just behind the end
            _clear(out)
    if not (out / "report.html").is_file() or (out / "state").exists():
        process = _start(phantoms, out, tmp_path / "cache", (out / "config.yaml").is_file(), quick)
        assert process.wait(timeout=300) == 0, process.stderr.read()
        process.stderr.close()
    assert _hash_weights(out) == _hash_weights(finished_run)


def _hash_weights(run: Path) -> str:
    # Bytes would do, but how 90 MB of them differ takes pytest hours to say.
    return hash_file(run / "bundle" / "model.safetensors")


def _clear(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_weights_and_resume_ends_the_run(
    finished_run, phantoms, quick, tmp_path
):
    out = tmp_path / "stopped"
    process = _start(phantoms, out, tmp_path / "cache", False, quick)
    deadline = time.monotonic() + 120
    while not (out / "state" / "checkpoint.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) in {0, 130}
    process.stderr.close()
    if process.returncode == 130:
        process = _start(phantoms, out, tmp_path / "cache", True, quick)
        assert process.wait(timeout=300) == 0, process.stderr.read()
        process.stderr.close()
    assert _hash_weights(out) == _hash_weights(finished_run)
    assert not (out / "best.safetensors").exists()


def test_what_was_left_out_is_said_at_the_end(phantoms, quick, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    (data / "NORMAL" / "broken.jpeg").write_bytes(b"\xff\xd8\xff\xe0")
    (data / "NORMAL" / "notes.txt").write_text("x")
    settings = [part for setting in quick for part in ("--set", setting)]
    arguments = ["train", data, "--out", tmp_path / "run", "--weights", "none", *settings]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    end = result.output[result.output.index("Research use") :]
    assert "1 image was left out:" in end
    assert "broken.jpeg" in end
    assert "1 file is no image by name, such as" in end


def test_data_without_a_test_part_is_judged_on_validation(phantoms, quick, tmp_path):
    """Where every image that may be spared has trained, as for a model that is to be shipped."""
    images = sorted(phantoms.glob("*/*.jpeg"))
    rows = [
        (str(path), path.parent.name, "val" if index % 4 == 0 else "train")
        for index, path in enumerate(images)
    ]
    data = tmp_path / "data.csv"
    pl.DataFrame(rows, ["path", "label", "split"], orient="row").write_csv(data)
    settings = [*quick, "ratios=[75, 25, 0]", "baseline.epochs=1"]
    recipe = load_recipe("classic", settings, epochs=1)
    request = TrainingRequest(
        data, tmp_path / "run", recipe, weights="none", allow_leakage=True
    )  # images of a patient alternate
    result = train(request, Silent())
    assert set(result.metrics["finetuned"]) == {"val"}
    assert result.metrics["finetuned"]["val"]["n"] == len(images[::4])
    assert len(read_bundle(tmp_path / "run" / "bundle").training_images().sha256) == len(images)
