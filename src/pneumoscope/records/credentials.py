"""What shows who asks: tokens of programs, sessions of browsers; kept as hashes, shown once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as DatabaseSession

from pneumoscope._files import hash_bytes
from pneumoscope.errors import RecordError
from pneumoscope.records.accounts import claim_name, look_up_user, spell_name, verify_password
from pneumoscope.records.filing import make_id
from pneumoscope.records.log import append_entry, commit_to
from pneumoscope.records.record import Record
from pneumoscope.records.tables import Role, Session, Token, User

TOKEN_PREFIX = "pns_"
#: A browser that asks for nothing so long is signed out; a shift later, it is in any case.
IDLE, LONGEST = timedelta(hours=1), timedelta(hours=12)
#: Uses are written down no more often than this: not every request is to cost a commit.
_REMEMBERED = timedelta(minutes=1)
_LONGEST_SECRET = 200


@dataclass(frozen=True)
class Account:
    """Who was recognised."""

    name: str
    role: Role
    csrf: str | None = None
    """Of a session: what a page sends along with every change."""


@dataclass(frozen=True)
class Opened:
    """A session that was opened: the cookie is shown this once."""

    cookie: str
    account: Account


def create_token(session: DatabaseSession, name: str, role: Role) -> str:
    """Make a token for a program, and return it; it cannot be shown again.

    Raises
    ------
    RecordError
        The name is taken or none.
    """
    secret = TOKEN_PREFIX + _make_secret()
    token = Token(
        id=make_id(),
        name=claim_name(session, name),
        role=role.value,
        hash=_hash_secret(secret),
        created_at=datetime.now(UTC),
    )
    session.add(token)
    session.flush()
    append_entry(session, "token-created", token.id, digest_token(token))
    return secret


def revoke_token(session: DatabaseSession, name: str) -> None:
    """Make a token worthless.

    Raises
    ------
    RecordError
        There is no such token.
    """
    token = session.scalar(select(Token).where(Token.name == spell_name(name)))
    if token is None:
        raise RecordError(f"There is no token {name!r}: `pneumoscope token list` names them.")
    session.delete(token)
    append_entry(session, "token-revoked", token.id)


def list_tokens(session: DatabaseSession) -> list[Token]:
    """Return all tokens by name."""
    return list(session.scalars(select(Token).order_by(Token.name)))


def digest_token(token: Token) -> str:
    """Return the log's hash of a token, salted by what nobody but its holder knows."""
    return commit_to({"id": token.id, "name": token.name, "role": token.role}, token.hash.encode())


def recognise_token(record: Record, secret: str) -> Account | None:
    """Return whose token this is; None where it is nobody's, or was revoked."""
    if not secret.startswith(TOKEN_PREFIX) or len(secret) > _LONGEST_SECRET:
        return None
    with record.read() as session:
        token = session.scalar(select(Token).where(Token.hash == _hash_secret(secret)))
        if token is None:
            return None
        account = Account(token.name, Role(token.role))
        token_id, used_at = token.id, token.used_at
    now = datetime.now(UTC)
    if used_at is None or now - used_at >= _REMEMBERED:
        with record.begin() as session:
            stored = session.get(Token, token_id)
            if stored is not None:
                stored.used_at = now
    return account


def sign_in(
    record: Record, name: str, password: str, *, replaced: str | None = None
) -> Opened | None:
    """Open a session for somebody with the right password; None for a wrong one.

    A name that nobody has takes as long as one with a wrong password.

    Parameters
    ----------
    replaced
        The cookie that the browser showed: its session ends, whosever it was.
    """
    with record.read() as session:
        user = look_up_user(session, name)
        user_id, stored = (user.id, user.password) if user else (None, None)
    if not verify_password(stored, password):  # slow: not within a transaction
        return None
    with record.begin() as session:
        user = session.get(User, user_id)
        if user is None or user.password != stored:
            return None  # removed or given another password in between
        now, cookie = datetime.now(UTC), _make_secret()
        gone = [_hash_secret(replaced)] if replaced else []
        session.execute(delete(Session).where((Session.expires_at <= now) | Session.hash.in_(gone)))
        opened = Session(
            hash=_hash_secret(cookie),
            user_id=user.id,
            csrf=_make_secret(),
            opened_at=now,
            expires_at=now + IDLE,
        )
        session.add(opened)
        append_entry(session, "sign-in", user.id)
        return Opened(cookie, Account(user.name, Role(user.role), opened.csrf))


def recognise_session(record: Record, cookie: str, *, active: bool = True) -> Account | None:
    """Return who is signed in by this cookie; None where nobody is, or no longer.

    Parameters
    ----------
    active
        Whether this is something that a person did, which puts the end off.
    """
    if len(cookie) > _LONGEST_SECRET:
        return None
    key, now = _hash_secret(cookie), datetime.now(UTC)
    with record.read() as session:
        row = session.execute(
            select(Session, User).join(User, User.id == Session.user_id).where(Session.hash == key)
        ).first()
        if row is None or row.Session.expires_at <= now:
            return None
        account = Account(row.User.name, Role(row.User.role), row.Session.csrf)
        expires_at = row.Session.expires_at
        later = min(now + IDLE, row.Session.opened_at + LONGEST)
    if active and later - expires_at >= _REMEMBERED:
        with record.begin() as session:
            stored = session.get(Session, key)
            if stored is not None:
                stored.expires_at = later
    return account


def sign_out(record: Record, cookie: str) -> None:
    """End the session of a cookie; where there is none, nothing is done."""
    with record.begin() as session:
        found = session.get(Session, _hash_secret(cookie))
        if found is not None:
            session.delete(found)
            append_entry(session, "sign-out", found.user_id)


def _make_secret() -> str:
    return secrets.token_urlsafe(32)


def _hash_secret(secret: str) -> str:
    return hash_bytes(secret.encode("utf-8", "surrogateescape"))
