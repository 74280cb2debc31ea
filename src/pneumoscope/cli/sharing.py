"""`pneumoscope bundle annotate` and `push`: say what a model is, and give it to others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.cli._options import BundleArgument, QuietOption


def annotate(
    bundle: BundleArgument,
    card: Annotated[
        Path | None,
        typer.Option(help="A YAML or JSON file of facts: users, population, data, licence, ..."),
    ] = None,
    folds: Annotated[
        list[Path] | None,
        typer.Option(
            "--fold",
            help="A run of the same training whose test part is blocks that it never saw; "
            "may be given often.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the new bundle; in place without it.")
    ] = None,
) -> None:
    """State what only people know about a model, and write its card anew.

    Weights, thresholds and probabilities stay as they are, and so does what is not given. Where
    the facts state ages, people of another one are referred.

    Example: `pneumoscope bundle annotate runs/first/bundle --card card.yaml`
    """
    from pneumoscope.bundle import annotate_bundle, find_shipped_bundle, read_facts, read_folds
    from pneumoscope.errors import PneumoscopeError

    if out is None and bundle == find_shipped_bundle():
        raise PneumoscopeError(
            "The model in the box stays as it was installed: name a folder for the new one with "
            "--out."
        )
    facts, licence = read_facts(card) if card else (None, None)
    numbers = read_folds(folds) if folds else None
    made = annotate_bundle(bundle, out, facts=facts, licence=licence, folds=numbers)
    typer.echo(f"{made.path / 'README.md'} is written anew.")


def push(
    bundle: BundleArgument,
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="The repository, made where there is none.")
    ],
    public: Annotated[
        bool,
        typer.Option("--public", help="Let everybody see a repository that is made; else private."),
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="The branch, made where there is none; main without it.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="The message of the commit.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Upload a bundle to the Hugging Face hub in one commit, after hashing every file again.

    The token is that of HF_TOKEN or of `hf auth login`; HF_ENDPOINT names another server. A
    repository that exists stays as visible as it is.

    Example: `pneumoscope bundle push runs/first/bundle my-hospital/pneumonia`
    """
    from pneumoscope.bundle import push_bundle, read_bundle

    for warning in read_bundle(bundle).info.warnings:
        typer.echo(f"warning: {' '.join(warning.split())}", err=True)
    pushed = push_bundle(
        bundle,
        repository,
        public=public,
        revision=revision,
        message=message,
        progress=not quiet and sys.stderr.isatty(),
    )
    if not quiet:
        seen = "private" if pushed.private else "public"
        typer.echo(f"{pushed.files} files in commit {pushed.commit[:12]}, {seen}.", err=True)
    typer.echo(pushed.url)
