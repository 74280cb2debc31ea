"""`pneumoscope user` and `pneumoscope token`: who may use the service, and as what."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli._options import DatabaseOption, RecordOption

if TYPE_CHECKING:
    from datetime import datetime

    from pneumoscope.records import Record, Role


class RoleName(StrEnum):
    """The roles, as `records.Role` has them."""

    READER = "reader"
    ADMIN = "admin"


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="1 to 64 letters, digits and . _ @ -")
]
RoleOption = Annotated[
    RoleName,
    typer.Option(help="`reader` looks, submits and reads; `admin` may also delete."),
]
StdinOption = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Read the password from standard input rather than ask for it."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    users = typer.Typer(no_args_is_help=True, help="Say who may sign in to the service.")
    users.command("add")(add)
    users.command("list")(list_users)
    users.command("password")(change_password)
    users.command("remove")(remove)
    app.add_typer(users, name="user")
    tokens = typer.Typer(no_args_is_help=True, help="Let programs into the service.")
    tokens.command("create")(create)
    tokens.command("list")(list_tokens)
    tokens.command("revoke")(revoke)
    app.add_typer(tokens, name="token")


def add(
    name: NameArgument,
    role: RoleOption = RoleName.READER,
    password_stdin: StdinOption = False,
    record: RecordOption = None,
    database: DatabaseOption = None,
) -> None:
    """Add somebody who may sign in. From the first one on, the service asks everybody who they are.

    The first user has to be an admin. A password has at least 12 characters and does not hold the
    name; it is asked for twice, and not shown.

    Examples: the first admin; a reader whose password comes from a program.

    ```console
    $ pneumoscope user add anna --role admin
    $ pass show hospital/ben | pneumoscope user add ben --password-stdin
    ```
    """
    with _open(record, database) as opened:
        from pneumoscope.records import add_user, check_new_password

        password = _ask_password(password_stdin)
        check_new_password(name, password)
        opened.write(lambda session: add_user(session, name, password, _find_role(role)))
        typer.echo(f"{name} may sign in as {role.value}, where {opened.folder} is the record.")


def list_users(record: RecordOption = None, database: DatabaseOption = None) -> None:
    """List who may sign in, as what, and since when.

    Example: `pneumoscope user list`
    """
    with _open(record, database) as opened, opened.read() as session:
        from pneumoscope.records import list_users as find

        for user in find(session):
            typer.echo(f"{user.name:32} {user.role:8} since {_format(user.created_at)}")


def change_password(
    name: NameArgument,
    password_stdin: StdinOption = False,
    record: RecordOption = None,
    database: DatabaseOption = None,
) -> None:
    """Give a user another password; wherever they are signed in, they are signed out.

    Example: `pneumoscope user password anna`
    """
    with _open(record, database) as opened:
        from pneumoscope.records import change_password as change
        from pneumoscope.records import find_user

        with opened.read() as session:
            find_user(session, name)  # before anybody types twice
        password = _ask_password(password_stdin)
        opened.write(lambda session: change(session, name, password))
        typer.echo(f"{name} has another password, and is signed out everywhere.")


def remove(
    name: NameArgument, record: RecordOption = None, database: DatabaseOption = None
) -> None:
    """Remove a user and sign them out; what they said about studies stays, with their name.

    The last admin cannot be removed.

    Example: `pneumoscope user remove ben`
    """
    with _open(record, database) as opened:
        from pneumoscope.records import remove_user

        opened.write(lambda session: remove_user(session, name))
        typer.echo(f"{name} may no longer sign in.")


def create(
    name: NameArgument,
    role: RoleOption = RoleName.READER,
    record: RecordOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make a token for a program, and print it: it cannot be shown again.

    The program sends it with every request, as `Authorization: Bearer TOKEN`.

    Examples: a token for a program that sends images; one that goes straight into a file.

    ```console
    $ pneumoscope token create modality-3
    $ pneumoscope token create prometheus > prometheus.token
    ```
    """
    with _open(record, database) as opened:
        from pneumoscope.records import create_token

        secret = opened.write(lambda session: create_token(session, name, _find_role(role)))
    typer.echo(secret)
    typer.echo(f"Keep it now: {opened.folder} holds only its hash.", err=True)


def list_tokens(record: RecordOption = None, database: DatabaseOption = None) -> None:
    """List tokens by name, as what, since when, and when they were last used.

    Example: `pneumoscope token list`
    """
    with _open(record, database) as opened, opened.read() as session:
        from pneumoscope.records import list_tokens as find

        for token in find(session):
            used = f"used {_format(token.used_at)}" if token.used_at else "never used"
            since = _format(token.created_at)
            typer.echo(f"{token.name:32} {token.role:8} since {since}  {used}")


def revoke(
    name: NameArgument, record: RecordOption = None, database: DatabaseOption = None
) -> None:
    """Make a token worthless, within seconds also in a service that runs.

    Example: `pneumoscope token revoke modality-3`
    """
    with _open(record, database) as opened:
        from pneumoscope.records import revoke_token

        opened.write(lambda session: revoke_token(session, name))
        typer.echo(f"The token of {name} is worthless.")


def _open(record: RecordOption, database: DatabaseOption) -> Record:
    from pneumoscope._extras import require_extra

    require_extra("serve", "sqlalchemy", "alembic", "argon2", purpose="A record with accounts")
    from pneumoscope.records import open_record

    return open_record(record, database)


def _find_role(role: RoleName) -> Role:
    from pneumoscope.records import Role

    return Role(role.value)


def _ask_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not _is_at_terminal():
        from pneumoscope.errors import PneumoscopeError

        raise PneumoscopeError(
            "There is no terminal to ask for a password: send it with --password-stdin."
        )
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _is_at_terminal() -> bool:
    return sys.stdin.isatty()


def _format(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
