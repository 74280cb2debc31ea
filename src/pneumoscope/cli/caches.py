"""`pneumoscope cache`: what is kept to save time, and how to be rid of it."""

from __future__ import annotations

from typing import Annotated

import typer

cache = typer.Typer(no_args_is_help=True, help="See and clear what is kept to save time.")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.add_typer(cache, name="cache")


@cache.command()
def show() -> None:
    """Show where caches are and how large they have become."""
    from pneumoscope._files import find_cache_folder, measure_caches

    typer.echo(f"Caches are in {find_cache_folder()}.")
    for name, size in measure_caches().items():
        typer.echo(f"{name:12} {size / 1e6:10.1f} MB")


@cache.command()
def clear(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which, such as `activations`; all by default.")
    ] = None,
) -> None:
    """Remove cached activations, pixels, archives, weights and compiled models.

    Example: `pneumoscope cache clear activations`
    """
    from pneumoscope._files import clear_caches

    typer.echo(f"Freed {clear_caches(names) / 1e6:.1f} MB.")
