"""Observers that keep a record elsewhere: TensorBoard always, MLflow where it is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pneumoscope._extras import require_extra
from pneumoscope.training.loop import EpochRow, Observer
from pneumoscope.training.recipe import Stage


class Silent:
    """An observer that does nothing."""

    def on_message(self, text: str) -> None:
        """Hear a sentence."""

    def on_progress(self, title: str, done: int, total: int) -> None:
        """See how far other work is."""

    def on_step(
        self, stage: Stage, epoch: int, done: int, total: int, loss: float, rate: float
    ) -> None:
        """See a step."""

    def on_epoch(self, stage: Stage, row: EpochRow) -> None:
        """See an epoch."""


class Several(Silent):
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def on_message(self, text: str) -> None:
        """Pass a sentence on."""
        for observer in self._observers:
            observer.on_message(text)

    def on_progress(self, title: str, done: int, total: int) -> None:
        """Pass progress on."""
        for observer in self._observers:
            observer.on_progress(title, done, total)

    def on_step(
        self, stage: Stage, epoch: int, done: int, total: int, loss: float, rate: float
    ) -> None:
        """Pass a step on."""
        for observer in self._observers:
            observer.on_step(stage, epoch, done, total, loss, rate)

    def on_epoch(self, stage: Stage, row: EpochRow) -> None:
        """Pass an epoch on."""
        for observer in self._observers:
            observer.on_epoch(stage, row)


class TensorBoardRecorder(Silent):
    """Writes the history as TensorBoard scalars, one group a stage."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def on_epoch(self, stage: Stage, row: EpochRow) -> None:
        """Write one point of every curve."""
        for name, value in _list_numbers(row):
            self._writer.add_scalar(f"{stage.name}/{name}", value, row.epoch)
        self._writer.flush()


class MlflowRecorder(Silent):
    """Logs configuration and history to the MLflow server that MLFLOW_TRACKING_URI names."""

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        require_extra("mlflow", "mlflow", purpose="Logging to MLflow")
        import mlflow

        self._mlflow = mlflow
        self._step = 0
        mlflow.set_experiment("pneumoscope")
        mlflow.start_run(run_name=name)
        mlflow.log_params({key: json.dumps(value)[:500] for key, value in config.items()})

    def on_epoch(self, stage: Stage, row: EpochRow) -> None:
        """Log one point of every curve."""
        self._step += 1
        self._mlflow.log_metrics(
            {f"{stage.name}.{name}": value for name, value in _list_numbers(row)}, step=self._step
        )

    def close(self) -> None:
        """End the MLflow run."""
        self._mlflow.end_run()


def _list_numbers(row: EpochRow) -> list[tuple[str, float]]:
    numbers = asdict(row)
    return [(name, value) for name, value in numbers.items() if name not in {"stage", "epoch"}]
