"""What is recorded beside the history reads back with the tools that people open it with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pneumoscope.training.loop import EpochRow
from pneumoscope.training.recipe import Stage
from pneumoscope.training.recorders import MlflowRecorder, TensorBoardRecorder

STAGE = Stage(name="finetuned", trainable=("head",))
FIRST = EpochRow("finetuned", 1, 0.7, 0.6, 0.5, 0.75, 0.8, 0.9, 1e-3, 2.5)
SECOND = replace(FIRST, epoch=2, train_loss=0.4, val_auc=0.95)


def test_tensorboard_shows_every_curve_of_the_history(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorder = TensorBoardRecorder(tmp_path)
    for row in (FIRST, SECOND):
        recorder.on_epoch(STAGE, row)
    events = EventAccumulator(str(tmp_path)).Reload()
    losses = [(point.step, point.value) for point in events.Scalars("finetuned/train_loss")]
    assert losses == [(1, pytest.approx(0.7)), (2, pytest.approx(0.4))]
    assert len(events.Tags()["scalars"]) == 8


def test_mlflow_holds_the_configuration_and_every_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    recorder = MlflowRecorder("first", {"seed": 3, "recipe": {"name": "classic"}})
    for row in (FIRST, SECOND):
        recorder.on_epoch(STAGE, row)
    recorder.close()

    (run,) = mlflow.search_runs(experiment_names=["pneumoscope"], output_format="list")
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "3"
    assert json.loads(run.data.params["recipe"]) == {"name": "classic"}
    assert run.data.metrics["finetuned.val_auc"] == pytest.approx(0.95)
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "finetuned.train_loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.7), (2, 0.4)]
