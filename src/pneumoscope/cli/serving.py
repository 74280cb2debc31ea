"""`pneumoscope serve`: the workbench, for people and programs."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli._options import (
    BundleOption,
    DatabaseOption,
    EngineOption,
    LogHeadOption,
    PrecisionOption,
    QuietOption,
    RecordOption,
)

if TYPE_CHECKING:
    from pneumoscope.workbench import Settings


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("serve")(serve)


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this machine need accounts.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8000,
    bundle: BundleOption = None,
    record: RecordOption = None,
    database: DatabaseOption = None,
    log_head: LogHeadOption = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The report of the model's run, for the model page."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificate (chain) for HTTPS.")
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Private key for HTTPS.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy ends TLS, and says who asks.")
    ] = False,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host",
            metavar="NAME",
            help="A name by which browsers reach the service; may be given several times.",
        ),
    ] = None,
    decoders: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that read images; the number of cores by default."),
    ] = None,
    operating_point: Annotated[
        str | None,
        typer.Option(help="`rule_out`, `balanced` or `rule_in`; the bundle's choice by default."),
    ] = None,
    engine: EngineOption = "openvino",
    precision: PrecisionOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Open the workbench: pages for people, an API for programs, a record of every answer.

    Without options it serves the model in the box on this machine alone, with SQLite. Images and
    answers lie in the record's folder; stop with Ctrl-C and start again, and everything is there,
    also what waited. Research use, not a diagnosis.

    Examples: here, for yourself; for a department, with accounts and HTTPS; on PostgreSQL.

    ```console
    $ pneumoscope serve
    $ pneumoscope user add grace --role admin
    $ pneumoscope serve --host 0.0.0.0 --certificate chain.pem --private-key key.pem
    $ pneumoscope serve --database postgresql://reader@db/pneumoscope
    ```
    """
    from pneumoscope._extras import require_extra

    require_extra("serve", "fastapi", "uvicorn", "sqlalchemy", purpose="pneumoscope serve")
    from pneumoscope.errors import PneumoscopeError
    from pneumoscope.runtime import count_cores
    from pneumoscope.workbench import Settings
    from pneumoscope.workbench.running import run_service

    if (certificate is None) != (private_key is None):
        raise PneumoscopeError("HTTPS needs both --certificate and --private-key.")
    for file in (certificate, private_key, report):
        if file is not None and not file.is_file():
            raise PneumoscopeError(f"{file} is no file.")
    for name in allowed_hosts or ():
        if not re.fullmatch(r"[\w.-]+", name):
            raise PneumoscopeError(
                f"--allowed-host takes a name such as xray.example, not {name!r}."
            )
    settings = Settings(
        record=record,
        database=database,
        log_head=log_head,
        bundle=bundle,
        engine=engine,
        precision=precision,
        operating_point=operating_point,
        report=report,
        host=host,
        port=port,
        certificate=certificate,
        private_key=private_key,
        behind_proxy=behind_proxy,
        allowed_hosts=tuple(allowed_hosts or ()),
        decoders=decoders or count_cores(),
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    run_service(settings, on_start=lambda address: None if quiet else _announce(address, settings))


def _announce(address: str, settings: Settings) -> None:
    typer.echo(f"The workbench is open at {address} (Ctrl-C stops it).", err=True)
    if settings.behind_proxy and not settings.allowed_hosts:
        typer.echo(
            f"Browsers that ask for another name than localhost or {socket.gethostname()} are "
            "refused: give the name that they type as --allowed-host.",
            err=True,
        )
    typer.echo("Research use, not a diagnosis.", err=True)
