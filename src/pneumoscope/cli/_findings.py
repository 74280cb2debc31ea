"""How findings are shown: a table for people, lines for programs, a summary of a file."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Protocol

import typer

from pneumoscope._probability import format_probability
from pneumoscope.cli._left_out import make_printable

if TYPE_CHECKING:
    from pneumoscope.client import RemotePredictor
    from pneumoscope.runtime import Finding, Predictor, ResultsFile

    #: What answers, here or elsewhere.
    Answerer = Predictor | RemotePredictor


class Printer(Protocol):
    """Shows findings one by one."""

    def print(self, finding: Finding) -> None:
        """Show one finding."""

    def close(self) -> None:
        """Show what comes last."""


class JsonLines:
    """A record a line."""

    def __init__(self, predictor: Answerer) -> None:
        del predictor

    def print(self, finding: Finding) -> None:
        """Print a record."""
        from pneumoscope.runtime import encode_jsonl

        print(encode_jsonl(finding), end="", flush=True)  # noqa: T201

    def close(self) -> None:
        """Add nothing."""


class Csv:
    """A record a row, below their names."""

    def __init__(self, predictor: Answerer) -> None:
        from pneumoscope.runtime import CSV_HEADER

        del predictor
        print(CSV_HEADER, end="")  # noqa: T201

    def print(self, finding: Finding) -> None:
        """Print a row."""
        from pneumoscope.runtime import encode_csv

        print(encode_csv(finding), end="", flush=True)  # noqa: T201

    def close(self) -> None:
        """Add nothing."""


class Table:
    """Rows as they are made, so that a long list can be watched; notes below."""

    def __init__(self, predictor: Answerer) -> None:
        self._predictor = predictor

    def print(self, finding: Finding) -> None:
        """Print the decision, the probability, the path, and the reason where there is one."""
        decision = finding.decision.value if finding.decision else finding.status.value.upper()
        chance, reason = "–", finding.message.removeprefix(finding.path).lstrip(": ")
        if finding.probability is not None:
            chance = format_probability(finding.probability)
            reason = reason.removeprefix(f"{decision}: probability {chance}, ")
        if decision in {"NORMAL", "PNEUMONIA"}:
            reason = ""
        what, reason = make_printable(finding.path), make_printable(reason.removesuffix(_BELOW))
        own = [code.value for code in finding.warnings if code not in self._predictor.warnings]
        # The points stand below each other, also where the end of the scale has a sign.
        chance = chance if chance[0] in "<>" else f" {chance}"
        start = f"{_colour(decision)}  {chance:<7}  {what}"
        start += "".join(f"  {typer.style(code, fg='yellow')}" for code in own)
        lines = _place(reason, _INDENT + sum(2 + len(word) for word in (what, *own)) - 2)
        first, *rest = [typer.style(line, dim=True) for line in lines]
        typer.echo(f"{start}  {first}" if lines[0] else start)
        for line in rest:
            typer.echo(" " * _INDENT + line)

    def close(self) -> None:
        """Print what holds for all rows."""
        typer.echo()
        print_notes(self._predictor)


class FileSummary:
    """Writes to a file of results, and counts."""

    def __init__(self, predictor: Answerer, results: ResultsFile, quiet: bool) -> None:
        self._predictor = predictor
        self._results = results
        self._quiet = quiet
        self._made = 0
        self._started = time.monotonic()

    def print(self, finding: Finding) -> None:
        """Write a row."""
        self._results.add(finding)
        self._made += 1

    def close(self) -> None:
        """Print the counts of the whole file, and the rate of this run."""
        if self._quiet:
            return
        counts = self._results.counts
        for decision in _COLOURS:
            if counts[decision]:
                typer.echo(f"{_colour(decision)}  {counts[decision]:>9,}")
        seconds = time.monotonic() - self._started
        rate = self._made / max(seconds, 1e-9)
        typer.echo(
            f"{'in all':<9}  {counts.total():>9,}  "
            + make_printable(f"in {self._results.path}; ")
            + f"{self._made:,} of them now, in {seconds:.1f} s ({rate:.1f} images/s)"
        )
        typer.echo()
        print_notes(self._predictor)


def print_notes(predictor: Answerer) -> None:
    """Print how decisions are made, what to know about the model, and what it is for."""
    from pneumoscope.runtime import REFERRAL_BAND, WarningCode

    low, high = predictor.threshold, predictor.threshold
    rest = f" ({predictor.operating_point})."
    if predictor.operating_point == REFERRAL_BAND:
        assert predictor.rule_out is not None
        assert predictor.rule_in is not None
        low, high = predictor.rule_out, predictor.rule_in
        rest = f", between {_colour('REFER', 0)}: a person must look." if low < high else "."
    typer.echo(
        f"Below {format_probability(low)} {_colour('NORMAL', 0)}, "
        f"from {format_probability(high)} on {_colour('PNEUMONIA', 0)}" + rest
    )
    for code in predictor.warnings:
        typer.echo(f"{typer.style('Warning:', fg='yellow')} {WarningCode(code).sentence}")
    typer.echo("Research use, not a diagnosis.")


def _place(reason: str, used: int) -> list[str]:
    """Return a reason as what stands in its row, of which `used` columns are taken, and below."""
    width = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or used + 2 + len(reason) <= width:
        return [reason]
    return ["", *textwrap.wrap(reason, max(width - _INDENT, 30))]


def _colour(decision: str, width: int = 9) -> str:
    foreground, background = _COLOURS[decision]
    said = typer.style(decision, fg=foreground, bg=background, bold=True)
    return said + " " * (width - len(decision))


#: Columns before the path.
_INDENT = 9 + 2 + 7 + 2
#: Said once below the table rather than in every row.
_BELOW = ": a person must look."
_COLOURS: dict[str, tuple[str, str | None]] = {
    "NORMAL": ("green", None),
    "PNEUMONIA": ("red", None),
    "REFER": ("yellow", None),
    "REJECTED": ("magenta", None),
    "ERROR": ("white", "red"),
}
