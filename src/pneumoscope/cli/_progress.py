"""Progress bars on long work; nothing where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _RateColumn(ProgressColumn):
    """How many images were done a second, of late."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} images/s" if speed else "")


@contextmanager
def show_progress(
    title: str, quiet: bool = False, in_bytes: bool = False, rate: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a bar on standard error, if it is a terminal.

    `rate` adds images a second.
    """
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn() if in_bytes else MofNCompleteColumn(),
        *([_RateColumn()] if rate else []),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        # Answers that are sent to a file must get there, and not to the screen beside the bar.
        redirect_stdout=sys.stdout.isatty(),
    )
    with progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None)

        yield update


@contextmanager
def show_stages(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback (title, done, total) that shows a bar for each title in its turn."""
    shown: list[tuple[str, Callable[[int, int], None]]] = []
    with ExitStack() as stack:

        def update(title: str, done: int, total: int) -> None:
            if not shown or shown[-1][0] != title:
                stack.close()
                shown.append((title, stack.enter_context(show_progress(title, quiet=quiet))))
            shown[-1][1](done, total)

        yield update
