"""What `train --folds` prints at its end: every fold, mean and spread, all images out of fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pneumoscope.training import CrossValidationResult

_NUMBERS = ("auc", "accuracy", "sensitivity", "specificity")


def print_cross_validation(result: CrossValidationResult) -> None:
    """Print the table of folds, their spread, the pooled numbers, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    tree, console = result.numbers, Console()
    table = Table(
        title="Every fold, by the model that never saw it",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in ("seed", "fold", "images", "AUC", "accuracy", "sensitivity", "specificity"):
        table.add_column(column, overflow="fold")
    table.add_column("missed")
    for run in tree["runs"]:
        numbers = [_show(run[name]) for name in _NUMBERS]
        missed = f"{run['fn']} of {run['positives']}"
        table.add_row(str(run["seed"]), run["fold"], str(run["n"]), *numbers, missed)
    for name, key in (("mean", "mean"), ("SD between folds", "sd_folds")):
        spread = [_show(tree["spread"][number][key]) for number in _NUMBERS]
        table.add_row(name, "", "", *spread, "")
    if len(tree["seeds"]) > 1:
        spread = [_show(tree["spread"][number]["sd_seeds"]) for number in _NUMBERS]
        table.add_row("SD between seeds", "", "", *spread, "")
    console.print(table)
    for warning in tree["warnings"]:
        console.print(f"Warning: {warning}", soft_wrap=True, highlight=False)
    pooled = ", ".join(_show_pooled(tree["pooled"], name) for name in _NUMBERS)
    console.print(
        f"All {tree['images']} images out of fold (95 % intervals over patients): {pooled}.",
        soft_wrap=True,
        highlight=False,
    )
    folder = result.folder
    for name, path in (("page", folder.page), ("answers", folder.out_of_fold)):
        console.print(f"{name:7} {path}", soft_wrap=True, highlight=False)
    console.print("Research use, not a diagnosis.")


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _show_pooled(pooled: dict[str, Any], name: str) -> str:
    low, high = pooled[name]["interval"]
    said = "AUC" if name == "auc" else name
    return f"{said} {_show(pooled[name]['value'])} ({low:.3f}–{high:.3f})"
