"""Accounts: people who sign in, and tokens that programs show.

Passwords are kept as Argon2id hashes (RFC 9106). Tokens and cookies are 256 random bits, kept as
sha256. The log tells of every change by opaque ids alone; its hashes commit to name and role, so
that a role that was changed behind the service's back is found.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as DatabaseSession

from pneumoscope._extras import require_extra
from pneumoscope.errors import RecordError
from pneumoscope.records.filing import make_id
from pneumoscope.records.log import append_entry, commit_to
from pneumoscope.records.tables import LogEntry, Role, Session, Token, User

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_PASSWORD, MAX_PASSWORD = 12, 1024
"""Characters."""
LOCAL = "local"
"""Who asks where nobody has to say who they are; nobody may be called so."""
_FEWEST_DIFFERENT = 5
#: A shorter name stands in many passwords by chance.
_TELLING = 4
_NAME = re.compile(r"\w[\w.@-]{0,63}")


def add_user(session: DatabaseSession, name: str, password: str, role: Role) -> User:
    """Add somebody who may sign in; the first one is an admin.

    Raises
    ------
    RecordError
        The name is taken or none, the password is too weak, or the first user is no admin.
    """
    name = claim_name(session, name)
    check_new_password(name, password)
    if role is not Role.ADMIN and not _count_admins(session):
        raise RecordError("The first user has to be an admin: give --role admin.")
    user = User(
        id=make_id(),
        name=name,
        role=role.value,
        password=hash_password(password),
        created_at=datetime.now(UTC),
    )
    session.add(user)
    session.flush()
    append_entry(session, "user-added", user.id, digest_user(user))
    return user


def change_password(session: DatabaseSession, name: str, password: str) -> None:
    """Give a user another password; wherever they are signed in, they are signed out.

    Raises
    ------
    RecordError
        There is no such user, or the password is too weak.
    """
    user = find_user(session, name)
    check_new_password(user.name, password)
    user.password = hash_password(password)
    session.execute(delete(Session).where(Session.user_id == user.id))
    append_entry(session, "password-changed", user.id, digest_user(user))


def remove_user(session: DatabaseSession, name: str) -> None:
    """Remove a user, and sign them out; what they said stays.

    Raises
    ------
    RecordError
        There is no such user, or nobody else is an admin.
    """
    user = find_user(session, name)
    if user.role == Role.ADMIN and _count_admins(session) == 1:
        raise RecordError(
            f"{user.name} is the only admin: add another with `pneumoscope user add NAME --role "
            "admin` first."
        )
    session.execute(delete(Session).where(Session.user_id == user.id))
    session.delete(user)
    append_entry(session, "user-removed", user.id)


def find_user(session: DatabaseSession, name: str) -> User:
    """Return a user by name.

    Raises
    ------
    RecordError
        There is no such user.
    """
    user = look_up_user(session, name)
    if user is None:
        raise RecordError(f"There is no user {name!r}: `pneumoscope user list` names them.")
    return user


def look_up_user(session: DatabaseSession, name: str) -> User | None:
    """Return a user by name, None where there is none; a name may be anything that was typed."""
    spelt = spell_name(name)
    if not _NAME.fullmatch(spelt):
        return None  # not every database takes every character
    return session.scalar(select(User).where(User.name == spelt))


def list_users(session: DatabaseSession) -> list[User]:
    """Return all users by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def has_accounts(session: DatabaseSession) -> bool:
    """Whether there is anybody who could say who they are: a user or a token."""
    found = session.scalar(select(User.id).limit(1)) or session.scalar(select(Token.id).limit(1))
    return found is not None


def had_accounts(session: DatabaseSession) -> bool:
    """Whether there ever was a user or a token; asks the whole log, so ask once."""
    made = ("user-added", "token-created")
    entry = session.scalar(select(LogEntry.seq).where(LogEntry.event.in_(made)).limit(1))
    return entry is not None


def check_new_password(name: str, password: str) -> None:
    """Refuse a password that is easily guessed.

    Raises
    ------
    RecordError
        It is too short or too long, holds the name, or is a few characters again and again.
    """
    password = _normalise(password)
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise RecordError(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, this one "
            f"{len(password)}: take a longer one, such as four words."
        )
    if len(name) >= _TELLING and name.casefold() in password.casefold():
        raise RecordError("A password must not hold the name: take another.")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise RecordError("The password is a few characters again and again: take another.")


def hash_password(password: str) -> str:
    """Return Argon2's hash of a password, with its parameters and a salt of its own."""
    return _make_hasher().hash(_spell_password(password))


def verify_password(stored: str | None, password: str) -> bool:
    """Whether a password is the one that was hashed; where there is none, it takes as long."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > MAX_PASSWORD:
        return False  # nobody has one so long, and hashing it would cost
    try:
        matches = _make_hasher().verify(stored or _hash_nothing(), _spell_password(password))
    except (VerificationError, InvalidHashError):
        return False
    return matches and stored is not None


def spell_name(name: str) -> str:
    """Return a name as it is kept: however it is typed, it is the same person."""
    return _normalise(name).strip().lower()


def digest_user(user: User) -> str:
    """Return the log's hash of a user; the password's salt makes it say nothing by itself."""
    return commit_to({"id": user.id, "name": user.name, "role": user.role}, user.password.encode())


def claim_name(session: DatabaseSession, name: str) -> str:
    """Return a name as it is kept, where it is one and free; people and programs share them."""
    spelt = spell_name(name)
    if not _NAME.fullmatch(spelt):
        raise RecordError(
            f"A name has 1 to 64 letters, digits and . _ @ -, found {name[:80]!r}: take another."
        )
    taken = (
        select(User.id).where(User.name == spelt).union(select(Token.id).where(Token.name == spelt))
    )
    if spelt == LOCAL or session.execute(taken).first() is not None:
        raise RecordError(f"The name {spelt!r} is taken: who did what would not be clear.")
    return spelt


def _count_admins(session: DatabaseSession) -> int:
    statement = select(func.count()).select_from(User).where(User.role == Role.ADMIN)
    return session.scalar(statement) or 0


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _spell_password(password: str) -> bytes:
    return _normalise(password).encode("utf-8", "surrogatepass")


@cache
def _make_hasher() -> PasswordHasher:
    require_extra("serve", "argon2", purpose="Signing in")
    from argon2 import PasswordHasher

    return PasswordHasher()  # RFC 9106's choice for little memory: 64 MiB, three passes


@cache
def _hash_nothing() -> str:
    return _make_hasher().hash("what nobody's password is compared with")
