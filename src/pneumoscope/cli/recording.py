"""`pneumoscope record`: verify, forget, retain, sweep, back up, restore, export, migrate, show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli._options import DatabaseOption, LogHeadOption, QuietOption, RecordOption

if TYPE_CHECKING:
    from pneumoscope.records import Forgotten, Record

record = typer.Typer(no_args_is_help=True)

YesOption = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]
_LISTED = 20


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.add_typer(record, name="record")


@record.callback()
def check_extra() -> None:
    """Keep the record of a service: verify, back up, delete."""
    from pneumoscope._extras import require_extra

    require_extra("serve", "sqlalchemy", "alembic", purpose="A record")


@record.command()
def show(folder: RecordOption = None, database: DatabaseOption = None) -> None:
    """Show where a record is and how much it holds.

    ```console
    $ pneumoscope record show
    ```
    """
    from pneumoscope.records import count_rows

    with _open(folder, database) as opened:
        typer.echo(f"{'folder':12} {opened.folder}")
        typer.echo(f"{'database':12} {opened.database.url.render_as_string()}")
        typer.echo(f"{'step':12} {opened.database.find_revision()}")
        for name, number in count_rows(opened).items():
            typer.echo(f"{name:12} {number:,}")


@record.command()
def verify(
    folder: RecordOption = None,
    database: DatabaseOption = None,
    images: Annotated[
        bool, typer.Option("--images", help="Read and hash every image too; lengths only, if not.")
    ] = False,
    log_head: LogHeadOption = None,
    quiet: QuietOption = False,
) -> None:
    """Say whether anything was changed, taken out or cut off behind the service's back.

    The log's chain, its head beside the database, every answer and reading against the log, every
    image. The exit code is 1 where something is not as it was written.

    ```console
    $ pneumoscope record verify
    $ pneumoscope record verify --images
    $ pneumoscope record verify --log-head /var/lib/pneumoscope-head/head.json
    ```
    """
    from pneumoscope.cli._progress import show_progress
    from pneumoscope.records import verify_record

    with _open(folder, database) as opened, show_progress("Looking", quiet=quiet) as progress:
        found = verify_record(opened, images=images, log_head=log_head, progress=progress)
    for problem in found.problems:
        typer.echo(problem)
    if found.unlisted:
        typer.echo(f"… and {found.unlisted:,} more.")
    looked_at = (
        f"{_count(found.entries, 'log entry', 'log entries')}, {_count(found.answers, 'answer')}, "
        f"{_count(found.readings, 'reading')}, {_count(found.images, 'image')}"
    )
    if found.problems:
        number = len(found.problems) + found.unlisted
        typer.echo(f"{looked_at}: {_count(number, 'problem')}.")
        raise typer.Exit(1)
    typer.echo(f"{looked_at}: all as written.")


@record.command()
def accept(
    folder: RecordOption = None,
    database: DatabaseOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept without asking.")] = False,
) -> None:
    """Keep the log's end as its head again, once you know why `verify` found them apart.

    So it is after the database was set back to a copy of its own. The log says for ever that it
    was accepted; what else `verify` finds stays found.

    ```console
    $ pneumoscope record accept
    ```
    """
    from pneumoscope.errors import RecordError
    from pneumoscope.records import accept_log

    if not yes:
        if not sys.stdin.isatty():
            raise RecordError("This would hide that the log was cut, if it was: say so with --yes.")
        typer.confirm("This hides that the log was cut, if it was. Go on?", abort=True)
    with _open(folder, database) as opened:
        accept_log(opened)
    typer.echo("Accepted: new entries follow from the log as it is.")


@record.command()
def forget(
    patient: Annotated[
        str | None,
        typer.Option(help="The key of a patient; - reads it from standard input."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="The id of one study.")] = None,
    folder: RecordOption = None,
    database: DatabaseOption = None,
    yes: YesOption = False,
) -> None:
    """Delete all that is kept of a patient, or of one study, for good.

    Images, answers, readings and small pictures go; the log keeps opaque ids, and still verifies.
    What backups hold stays there.

    ```console
    $ pneumoscope record forget --patient 4711
    $ pneumoscope record forget --study 0b7d3c9e-4a41-4a0e-9df5-3d2f3b8c1f52 --yes
    ```
    """
    from pneumoscope import records

    if (patient is None) == (study is None):
        raise typer.BadParameter("name either a patient with --patient, or a study with --study.")
    key = sys.stdin.readline().rstrip("\r\n") if patient == "-" else patient
    with _open(folder, database) as opened:
        if key is not None:
            studies = len(records.list_studies_of(opened, key))
            _confirm(f"a patient with {_count(studies, 'study', 'studies')}", yes)
            _report(records.forget_patient(opened, key))
        else:
            _confirm("a study with its answers, readings and image", yes)
            _report(records.forget_study(opened, study or ""))


@record.command()
def retain(
    days: Annotated[int, typer.Option(min=1, help="How long studies are kept.")],
    folder: RecordOption = None,
    database: DatabaseOption = None,
    yes: YesOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete the studies that were received more than so many days ago, for good.

    Their readings go with them: export those first that are to be kept.

    ```console
    $ pneumoscope record export labelled/
    $ pneumoscope record retain --days 365 --yes
    ```
    """
    from pneumoscope import records
    from pneumoscope.cli._progress import show_progress

    with _open(folder, database) as opened:
        older = records.count_older(opened, days)
        if not older:
            typer.echo(f"No study is older than {_count(days, 'day')}.")
            return
        _confirm(f"{_count(older, 'study', 'studies')} older than {_count(days, 'day')}", yes)
        with show_progress("Deleting", quiet=quiet) as progress:
            done = records.retain(opened, days, progress)
        _report(done)


@record.command()
def sweep(
    folder: RecordOption = None, database: DatabaseOption = None, yes: YesOption = False
) -> None:
    """Delete image files that no study needs, as a killed process may leave them.

    ```console
    $ pneumoscope record sweep
    ```
    """
    from pneumoscope import records

    with _open(folder, database) as opened:
        found = records.find_orphans(opened)
        if found:
            size = sum(file.stat().st_size for file in found if file.is_file())
            _confirm(f"{_count(len(found), 'file')} ({size / 1e6:.1f} MB) without a study", yes)
        typer.echo(f"Deleted {_count(records.sweep(opened, found), 'file')}.")


@record.command()
def backup(
    destination: Annotated[Path, typer.Argument(help="A new folder, best on another disk.")],
    folder: RecordOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write all of a record into a new folder, while the service goes on.

    The folder holds people's images: keep it as safe as the record itself.

    ```console
    $ pneumoscope record backup /mnt/backup/2026-11-28
    ```
    """
    from pneumoscope.cli._progress import show_progress
    from pneumoscope.records import back_up

    with _open(folder, database) as opened, show_progress("Copying", quiet=quiet) as progress:
        done = back_up(opened, destination, progress=progress)
    rows = sum(table.rows for table in done.tables.values())
    typer.echo(f"{_count(rows, 'row')} and {_count(done.images, 'image')} in {destination}.")
    _say_left_out([f"The image {sha256} is missing or was changed." for sha256 in done.left_out])


@record.command()
def restore(
    source: Annotated[Path, typer.Argument(help="The folder of a backup.")],
    folder: RecordOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """Make a record from a backup, on the same kind of database or on the other, and verify it.

    The record's folder must be new, and the database empty.

    ```console
    $ pneumoscope record restore /mnt/backup/2026-11-28 --record new/
    $ pneumoscope record restore /mnt/backup/2026-11-28 --record new/ \\
          --database postgresql://pneumoscope@localhost/record
    ```
    """
    import os

    from pneumoscope.cli._progress import show_progress
    from pneumoscope.records import find_record_folder
    from pneumoscope.records import restore as restore_record

    place = find_record_folder(folder)
    address = database or os.environ.get("PNEUMOSCOPE_DATABASE")
    with show_progress("Restoring", quiet=quiet) as progress:
        found = restore_record(place, address, source, progress=progress)
    typer.echo(
        f"{_count(found.answers, 'answer')}, {_count(found.readings, 'reading')} and "
        f"{_count(found.images, 'image')} in {place}."
    )
    _say_left_out(found.problems)


@record.command()
def export(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    folder: RecordOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write the images that people labelled, with their labels, for `train` and the others.

    Patients appear by an opaque id. Images are as they were sent: a DICOM file still says whose
    it is.

    ```console
    $ pneumoscope record export labelled/
    $ pneumoscope recalibrate bundled labelled/ --out our_bundle
    ```
    """
    from pneumoscope.cli._progress import show_progress
    from pneumoscope.records import export_readings

    with _open(folder, database) as opened, show_progress("Writing", quiet=quiet) as progress:
        done = export_readings(opened, out, progress=progress)
    typer.echo(f"{_count(done.images, 'labelled image')} in {out}.")
    _say_left_out(done.left_out)


@record.command()
def migrate(folder: RecordOption = None, database: DatabaseOption = None) -> None:
    """Bring the tables of a record to this version; every start of a service does so too.

    Make a backup first: there is no way back but to restore it.

    ```console
    $ pneumoscope record migrate
    ```
    """
    from pneumoscope.records import open_record

    with open_record(folder, database) as opened:
        typer.echo(f"{opened.folder}: step {opened.database.find_revision()}.")


@contextmanager
def _open(folder: Path | None, database: str | None) -> Iterator[Record]:
    """Open a record that is there: a name that is mistyped must not make a new one."""
    import os

    from pneumoscope.errors import RecordError
    from pneumoscope.records import find_record_folder, name_failures, open_record

    place = find_record_folder(folder)
    elsewhere = database or os.environ.get("PNEUMOSCOPE_DATABASE")
    if not (place.is_dir() and (elsewhere or (place / "record.sqlite").is_file())):
        raise RecordError(f"There is no record in {place}: name its folder with --record.")
    with (
        name_failures(f"The database of {place}", "where it was damaged, restore a backup"),
        open_record(place, database) as opened,
    ):
        yield opened


def _confirm(what: str, yes: bool) -> None:
    """Ask whether this is to be deleted; where nobody can answer, `--yes` must have been given."""
    from pneumoscope.errors import RecordError

    if yes:
        return
    if not sys.stdin.isatty():
        raise RecordError(f"This would delete {what}, for good: say so with --yes.")
    typer.confirm(f"This deletes {what}, for good. Go on?", abort=True)


def _report(done: Forgotten) -> None:
    typer.echo(
        f"Deleted {_count(done.studies, 'study', 'studies')}, {_count(done.answers, 'answer')}, "
        f"{_count(done.readings, 'reading')}, {_count(done.images, 'image')}."
    )
    if not done.traceless:
        typer.echo(
            "Somebody was reading the database, so that its write-ahead log still holds old "
            "pages: `pneumoscope record sweep` empties it.",
            err=True,
        )


def _say_left_out(problems: list[str] | tuple[str, ...]) -> None:
    for problem in problems[:_LISTED]:
        typer.echo(problem, err=True)
    if len(problems) > _LISTED:
        typer.echo(f"… and {len(problems) - _LISTED:,} more", err=True)
    if problems:
        raise typer.Exit(1)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
