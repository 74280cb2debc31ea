"""What a person sees while training: a live line on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from pneumoscope.training import EpochRow, Stage


class TrainingDisplay:
    """Shows epoch, loss, validation AUC and sensitivity, images a second, and time left."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
            redirect_stdout=False,
        )
        self._task: TaskID | None = None
        self._stage: str | None = None

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def on_message(self, text: str) -> None:
        """Print a sentence."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True, markup=False)

    def on_progress(self, title: str, done: int, total: int) -> None:
        """Move a bar of its own; where there is no terminal, say once what is being done."""
        if self._stage != title:
            self._start_bar(title, total)
            if not self._console.is_terminal:
                self.on_message(f"{title} …")
        assert self._task is not None
        self._progress.update(self._task, completed=done, total=total)

    def on_step(
        self, stage: Stage, epoch: int, done: int, total: int, loss: float, rate: float
    ) -> None:
        """Move the bar; it spans the stage, so that the time left is the stage's."""
        if self._stage != stage.name:
            self._start_bar(stage.name, stage.epochs * total)
        assert self._task is not None
        self._progress.update(
            self._task,
            description=f"{stage.name} {epoch}/{stage.epochs}",
            completed=(epoch - 1) * total + done,
            numbers=f"loss {loss:.4f}  {rate:.1f} images/s",
        )

    def _start_bar(self, title: str, total: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._stage = title
        self._task = self._progress.add_task(title, total=total or None, numbers="")

    def on_epoch(self, stage: Stage, row: EpochRow) -> None:
        """Print an epoch's line."""
        self.on_message(
            f"{row.stage} {row.epoch:>2}/{stage.epochs}  "
            f"loss {row.train_loss:.4f}, val {row.val_loss:.4f}  "
            f"accuracy {row.train_accuracy:.3f}, val {row.val_accuracy:.3f}  "
            f"val AUC {row.val_auc:.4f}  val sensitivity {row.val_sensitivity:.3f}  "
            f"{row.seconds:.1f} s"
        )
