"""`pneumoscope predict`: images in, one finding each out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli._findings import Csv, FileSummary, JsonLines, Printer, Table
from pneumoscope.cli._left_out import make_printable
from pneumoscope.cli._options import (
    BundleOption,
    EngineOption,
    PrecisionOption,
    QuietOption,
    is_given,
)

if TYPE_CHECKING:
    from pneumoscope.cli._findings import Answerer
    from pneumoscope.runtime import Finding


#: From so many images on, the model is made ready for many rather than for one.
_MANY = 20


class OutputFormat(StrEnum):
    """How findings are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("predict")(predict)


def predict(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(help="Image files, folders (searched within), or - for stdin.")
    ],
    bundle: BundleOption = None,
    output: Annotated[
        OutputFormat, typer.Option("--format", help="For people, or for programs.")
    ] = OutputFormat.TABLE,
    out: Annotated[
        Path | None,
        typer.Option(help="Write results to this new .csv or .jsonl file, as they are made."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the file of --out: what it holds is not redone."),
    ] = False,
    operating_point: Annotated[
        str | None,
        typer.Option(help="`rule_out`, `balanced` or `rule_in`; the bundle's choice by default."),
    ] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write an overlay and the raw 7×7 map of each image here.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Images worked on at once; the number of cores by default."),
    ] = None,
    engine: EngineOption = "openvino",
    precision: PrecisionOption = "fp32",
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask a service (`pneumoscope serve`) rather than a model here; its token is read "
            "from PNEUMOSCOPE_TOKEN.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Say of each image whether it looks like pneumonia. Research use, not a diagnosis.

    NORMAL and PNEUMONIA are answers; REFER is too close to call, a person must look; REJECTED is
    no image that the model may answer. JPEG, PNG, TIFF and DICOM are read. A file that cannot be
    read is an ERROR, and the rest goes on; the exit code is then 1.

    Examples: an image, with a picture of what the answer rests on; a folder, for a program; a
    large folder, into a file; the same again after a break; by a service elsewhere.

    ```console
    $ pneumoscope predict chest.jpg --heatmaps out/
    $ pneumoscope predict folder/ --format jsonl
    $ pneumoscope predict folder/ --out results.csv
    $ pneumoscope predict folder/ --out results.csv --resume
    $ pneumoscope predict folder/ --server https://pneumoscope.hospital.example
    ```
    """
    from pneumoscope import runtime

    _check_options(paths, output, out, resume)
    sources, cores = list(_find_images(paths)), runtime.count_cores()
    predictor: Answerer
    if server is not None:
        predictor = _reach(server, context)
    else:
        predictor = runtime.load(
            bundle,
            engine=engine,
            precision=precision,
            operating_point=operating_point,
            streams=min(jobs or cores, cores) if len(sources) >= _MANY else 1,
        )
    try:
        if out is None:
            printer = _PRINTERS[output](predictor)
            done = _answer(predictor, sources, printer, heatmaps, jobs, quiet)
            printer.close()
        else:
            done = _answer_into(out, resume, predictor, sources, heatmaps, jobs, quiet)
    except BrokenPipeError:
        # The reader went away, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    if not quiet:
        _summarise(done, heatmaps)
    if done.failed:
        raise typer.Exit(1)


def _check_options(paths: list[str], output: OutputFormat, out: Path | None, resume: bool) -> None:
    """Refuse what cannot go together before anything is loaded."""
    from pneumoscope.errors import PneumoscopeError
    from pneumoscope.runtime import check_results_name

    if out is not None:
        check_results_name(out)
        if output is not OutputFormat.TABLE:
            raise PneumoscopeError(
                "--out says by its suffix how results are written: leave out --format."
            )
    elif resume:
        raise PneumoscopeError("--resume goes on with a file: name it with --out.")
    if resume and "-" in paths:
        raise PneumoscopeError(
            "Standard input has no name by which --resume would know it: name files or folders."
        )


def _reach(server: str, context: typer.Context) -> Answerer:
    """Return what answers at a service; what it decides by itself cannot be said here."""
    from pneumoscope.client import Client, RemotePredictor
    from pneumoscope.errors import PneumoscopeError

    for name in ("bundle", "engine", "precision", "operating_point", "heatmaps"):
        if is_given(context, name):
            raise PneumoscopeError(
                f"--{name.replace('_', '-')} is for a model here: the service of --server has its "
                "own."
            )
    client = Client(server)
    context.call_on_close(client.close)
    return RemotePredictor(client)


@dataclass
class _Done:
    """What came of a run."""

    images: int = 0
    failed: int = 0
    first_failure: str = ""


def _answer(
    predictor: Answerer,
    sources: Sequence[str | bytes],
    printer: Printer,
    heatmaps: Path | None,
    jobs: int | None,
    quiet: bool,
) -> _Done:
    """Answer all sources, with a bar where there are many."""
    from pneumoscope.cli._progress import show_progress

    done = _Done()
    show_bar = not quiet and len(sources) >= _MANY
    with (
        show_progress("Predicting", quiet=not show_bar, rate=True) as progress,
        closing(_predict_and_draw(predictor, sources, heatmaps, jobs)) as answers,
    ):
        progress(0, len(sources))
        for finding, problem in answers:
            printer.print(finding)
            done.images += 1
            if problem:
                done.failed += 1
                done.first_failure = done.first_failure or problem
            progress(done.images, len(sources))
    return done


def _answer_into(
    out: Path,
    resume: bool,
    predictor: Answerer,
    sources: Sequence[str | bytes],
    heatmaps: Path | None,
    jobs: int | None,
    quiet: bool,
) -> _Done:
    """Answer what a file of results does not hold yet."""
    from pneumoscope.runtime import ResultsFile

    facts = {
        "bundle": predictor.bundle.sha256,
        "precision": predictor.precision,
        "operating_point": predictor.operating_point,
    }
    with ResultsFile(out, facts, resume=resume) as results:
        named = {source if isinstance(source, str) else "image": source for source in sources}
        missing = [source for name, source in named.items() if not results.holds(name)]
        summary = FileSummary(predictor, results, quiet)
        try:
            done = _answer(predictor, missing, summary, heatmaps, jobs, quiet)
        except KeyboardInterrupt:
            typer.echo(
                make_printable(
                    f"interrupted: {out} holds {results.count():,} of {len(named):,} "
                    "results; the same command with --resume goes on."
                ),
                err=True,
            )
            raise typer.Exit(130) from None
        results.sort(named)
    summary.close()
    return done


def _predict_and_draw(
    predictor: Answerer,
    sources: Sequence[str | bytes],
    heatmaps: Path | None,
    jobs: int | None,
) -> Generator[tuple[Finding, str], None, None]:
    """Yield findings, each with what went wrong; its heat-map is written by then."""
    from pneumoscope import runtime
    from pneumoscope.errors import ImageError

    def draw(pairs: Iterator[tuple[str | bytes, Finding]]) -> list[tuple[Finding, str]]:
        answers = []
        for source, finding in pairs:
            problem = finding.message if finding.status is runtime.Status.ERROR else ""
            if heatmaps is not None and finding.activation_map is not None:
                try:
                    runtime.save_heatmap(heatmaps, finding, source)
                except ImageError as error:
                    problem = str(error)
            answers.append((finding, problem))
        return answers

    with closing(predictor.predict_many(sources, jobs=jobs)) as findings:
        pairs = zip(sources, findings, strict=True)
        if heatmaps is None:
            for pair in pairs:
                yield from draw(iter([pair]))
        else:
            threads = jobs or runtime.count_cores()
            with closing(runtime.map_in_order(draw, pairs, jobs=threads, chunk=1)) as answers:
                yield from answers


def _find_images(paths: list[str]) -> Iterator[str | bytes]:
    """Yield what is to be answered: paths as given, folders' images in order, stdin's bytes.

    A folder that holds none, or cannot be searched, is given as it is: answering it says so, and
    the rest goes on.
    """
    from pneumoscope.errors import PneumoscopeError
    from pneumoscope.images import MAX_BYTES

    for path in paths:
        if not path:
            raise PneumoscopeError("An image has no name: a path is empty.")
        if path == "-":
            if sys.stdin is None:
                raise PneumoscopeError("Standard input is closed: name a file, or pipe one in.")
            yield sys.stdin.buffer.read(MAX_BYTES + 1)  # one more is refused with its reason
        elif os.path.isdir(path):  # noqa: PTH112 - a path that no file can have is answered too
            found = sorted(_search_folder(path))
            if not found and len(paths) == 1:
                raise PneumoscopeError(
                    f"{path} holds no image: JPEG, PNG, TIFF, BMP, WebP and DICOM are looked for."
                )
            yield from found or [path]
        else:
            yield path


def _search_folder(path: str) -> Iterator[str]:
    """Yield the images in a folder, and the folders in it that cannot be searched."""
    from pneumoscope.images import is_image_file, is_visible

    closed: list[str] = []
    for folder, names, files in os.walk(path, onerror=lambda error: closed.append(error.filename)):
        names[:] = [name for name in names if is_visible(name)]
        for name in files:
            file = Path(folder) / name
            if is_visible(name) and file.is_file() and is_image_file(file):
                yield str(file)
    yield from closed


def _summarise(done: _Done, heatmaps: Path | None) -> None:
    note = f"{done.images - done.failed} of {done.images} images answered"
    if not done.images:
        note = "nothing was left to answer"
    if done.failed:
        more = " …" if done.failed > 1 else ""
        note += f", {done.failed} left out: {done.first_failure}{more}"
    typer.echo(make_printable(note), err=True)
    if heatmaps is not None and done.images > done.failed:
        typer.echo(f"Heat-maps (influence, not the location of pneumonia): {heatmaps}", err=True)


_PRINTERS: dict[OutputFormat, Callable[[Answerer], Printer]] = {
    OutputFormat.JSONL: JsonLines,
    OutputFormat.CSV: Csv,
    OutputFormat.TABLE: Table,
}
