"""Accounts: names, passwords, tokens, sessions, and what the log tells of them."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select

from pneumoscope.errors import RecordError
from pneumoscope.records import (
    LogEntry,
    Record,
    Role,
    Session,
    Token,
    User,
    accounts,
    add_user,
    change_password,
    check_new_password,
    create_token,
    digest_token,
    digest_user,
    find_user,
    has_accounts,
    list_tokens,
    list_users,
    recognise_session,
    recognise_token,
    remove_user,
    revoke_token,
    sign_in,
    sign_out,
)
from pneumoscope.records.log import find_breaks

PASSWORD = "four words in a row"
_PLAIN_HASHER = accounts._make_hasher


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_make_hasher", lambda: hasher)


def _add(record, name="anna", role=Role.ADMIN, password=PASSWORD):
    record.write(lambda session: add_user(session, name, password, role))


def _create(record, name="robot", role=Role.READER):
    return record.write(lambda session: create_token(session, name, role))


def _count(record, table) -> int:
    with record.read() as session:
        return session.scalar(select(func.count()).select_from(table))


# -- users ----------------------------------------------------------------------------------------


def test_a_user_signs_in_by_name_and_password(record):
    _add(record)
    opened = sign_in(record, " Anna", PASSWORD)
    assert opened.account.name == "anna"
    assert opened.account.role is Role.ADMIN
    assert sign_in(record, "anna", "five words in a row") is None
    assert sign_in(record, "ann", PASSWORD) is None


def test_the_first_user_is_an_admin(sqlite_record):
    with pytest.raises(RecordError, match="--role admin"):
        _add(sqlite_record, role=Role.READER)
    _add(sqlite_record)
    _add(sqlite_record, "ben", Role.READER)
    with sqlite_record.read() as session:
        assert [(user.name, user.role) for user in list_users(session)] == [
            ("anna", "admin"),
            ("ben", "reader"),
        ]


def test_the_last_admin_stays(sqlite_record):
    _add(sqlite_record)
    _add(sqlite_record, "ben", Role.READER)
    with pytest.raises(RecordError, match="anna is the only admin"):
        sqlite_record.write(lambda session: remove_user(session, "anna"))
    _add(sqlite_record, "cleo")
    sqlite_record.write(lambda session: remove_user(session, "ANNA"))
    with sqlite_record.read() as session:
        assert [user.name for user in list_users(session)] == ["ben", "cleo"]
    with pytest.raises(RecordError, match="no user 'anna'"):
        sqlite_record.write(lambda session: remove_user(session, "anna"))


@pytest.mark.parametrize("name", ["", " ", "-anna", "an na", "anna\0", "an/na", "a" * 65, "\ud800"])
def test_what_is_no_name_is_refused(sqlite_record, name):
    with pytest.raises(RecordError, match="A name has 1 to 64"):
        _add(sqlite_record, name)


@pytest.mark.parametrize(
    "name", ["a", "jörg", "anna.b@hospital.example", "李", "reader-3", "a" * 64]
)
def test_names_of_any_script_are_taken(sqlite_record, name):
    _add(sqlite_record, name)
    assert sign_in(sqlite_record, name, PASSWORD) is not None


def test_a_name_says_who_it_was(sqlite_record):
    """People and programs share names, in any spelling, and nobody is `local`."""
    _add(sqlite_record)
    _create(sqlite_record)
    for taken in ("anna", "ANNA", "robot", "ａｎｎａ", "local"):
        with pytest.raises(RecordError, match="is taken"):
            _add(sqlite_record, taken)
        with pytest.raises(RecordError, match="is taken"):
            _create(sqlite_record, taken)


# -- passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "found"),
    [
        ("", "this one 0"),
        ("eleven char", "12 to 1024 characters, this one 11"),
        ("x" * 1025, "this one 1025"),
        ("anna and words", "must not hold the name"),
        ("words and ANNA", "must not hold the name"),
        ("aaaaaaaaaaaaaa", "again and again"),
        ("123412341234", "again and again"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(password, found):
    with pytest.raises(RecordError, match=found) as caught:
        check_new_password("anna", password)
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize(
    "password", ["twelve chars", "\U0001f512 keys and words", "some words " * 90]
)
def test_other_passwords_are_taken(sqlite_record, password):
    _add(sqlite_record, password=password)
    assert sign_in(sqlite_record, "anna", password) is not None


def test_however_a_letter_is_typed_it_is_the_same(sqlite_record):
    _add(sqlite_record, password="w\u00f6rter wie diese")
    assert sign_in(sqlite_record, "anna", "wo\u0308rter wie diese") is not None


def test_passwords_are_kept_as_argon2_hashes_of_their_own(sqlite_record):
    _add(sqlite_record)
    _add(sqlite_record, "ben")
    with sqlite_record.read() as session:
        first, second = (find_user(session, name).password for name in ("anna", "ben"))
    assert first.startswith("$argon2id$")
    assert first != second
    assert PASSWORD not in first


def test_the_hash_is_as_dear_as_the_standard_asks():
    hasher = _PLAIN_HASHER()
    assert hasher.memory_cost >= 64 * 1024  # KiB
    assert hasher.time_cost >= 3


@pytest.mark.parametrize("password", ["x" * 1_000_000, "\ud800", "", "\0"])
def test_no_password_is_an_error(sqlite_record, password):
    _add(sqlite_record)
    assert sign_in(sqlite_record, "anna", password) is None


def test_a_damaged_hash_lets_nobody_in(sqlite_record):
    _add(sqlite_record)

    def damage(session):
        find_user(session, "anna").password = "$argon2id$v=19$m=8,t=1,p=1$broken"

    sqlite_record.write(damage)
    assert sign_in(sqlite_record, "anna", PASSWORD) is None


def test_a_changed_password_ends_all_sessions(record):
    _add(record)
    cookies = [sign_in(record, "anna", PASSWORD).cookie for _ in range(2)]
    record.write(lambda session: change_password(session, "anna", "another four words"))
    assert [recognise_session(record, cookie) for cookie in cookies] == [None, None]
    assert sign_in(record, "anna", PASSWORD) is None
    with pytest.raises(RecordError, match="12 to 1024"):
        record.write(lambda session: change_password(session, "anna", "short"))


def test_who_is_removed_while_signing_in_gets_no_session(sqlite_record, monkeypatch):
    from pneumoscope.records import credentials

    _add(sqlite_record)
    _add(sqlite_record, "ben")
    verify = credentials.verify_password

    def verify_late(stored, password):
        sqlite_record.write(lambda session: remove_user(session, "ben"))
        return verify(stored, password)

    monkeypatch.setattr(credentials, "verify_password", verify_late)
    assert sign_in(sqlite_record, "ben", PASSWORD) is None
    assert _count(sqlite_record, Session) == 0


# -- tokens ---------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_kept_as_a_hash(record):
    secret = _create(record)
    assert secret.startswith("pns_")
    assert len(secret) == len("pns_") + 43  # 256 bits
    assert recognise_token(record, secret).name == "robot"
    assert recognise_token(record, secret).role is Role.READER
    with record.read() as session:
        (token,) = list_tokens(session)
        assert secret not in (token.hash, token.name)
        assert secret.removeprefix("pns_") not in token.hash
    assert _create(record, "other") != secret


def test_a_revoked_token_is_nobodys(record):
    secret = _create(record)
    record.write(lambda session: revoke_token(session, "Robot"))
    assert recognise_token(record, secret) is None
    with pytest.raises(RecordError, match="no token 'robot'"):
        record.write(lambda session: revoke_token(session, "robot"))


def test_accounts_are_users_or_tokens(sqlite_record):
    def look() -> bool:
        with sqlite_record.read() as session:
            return has_accounts(session)

    assert not look()
    _create(sqlite_record)
    assert look()
    sqlite_record.write(lambda session: revoke_token(session, "robot"))
    assert not look()
    _add(sqlite_record)
    assert look()


def test_a_token_may_be_revoked_while_its_use_is_written_down(sqlite_record):
    """Many threads show a token while it is revoked: none fails."""
    secret, failures = _create(sqlite_record), []

    def show():
        try:
            for _ in range(5):
                recognise_token(sqlite_record, secret)
        except Exception as error:  # noqa: BLE001 - looked at below
            failures.append(error)

    threads = [threading.Thread(target=show) for _ in range(4)]
    for thread in threads:
        thread.start()
    sqlite_record.write(lambda session: revoke_token(session, "robot"))
    for thread in threads:
        thread.join()
    assert failures == []
    assert _count(sqlite_record, Token) == 0


# -- sessions -------------------------------------------------------------------------------------


def test_a_session_is_recognised_until_it_is_ended(record):
    _add(record)
    opened = sign_in(record, "anna", PASSWORD)
    known = recognise_session(record, opened.cookie)
    assert known == opened.account
    assert known.csrf != opened.cookie
    assert recognise_session(record, opened.cookie + "x") is None
    assert recognise_session(record, known.csrf) is None
    sign_out(record, opened.cookie)
    assert recognise_session(record, opened.cookie) is None
    sign_out(record, opened.cookie)  # twice is no error


def test_sessions_that_ran_out_are_swept_away(sqlite_record):
    _add(sqlite_record)
    sign_in(sqlite_record, "anna", PASSWORD)

    def age(session):
        for row in session.scalars(select(Session)):
            row.expires_at -= timedelta(hours=13)

    sqlite_record.write(age)
    sign_in(sqlite_record, "anna", PASSWORD)
    assert _count(sqlite_record, Session) == 1


def test_a_removed_user_has_no_sessions(record):
    _add(record)
    _add(record, "ben")
    opened = sign_in(record, "ben", PASSWORD)
    record.write(lambda session: remove_user(session, "ben"))
    assert recognise_session(record, opened.cookie) is None
    assert _count(record, Session) == 0
    assert _count(record, User) == 1


# -- the log --------------------------------------------------------------------------------------


def test_every_change_is_logged_and_names_nobody(record: Record):
    _add(record)
    _add(record, "ben", Role.READER)
    _create(record)
    record.write(lambda session: change_password(session, "ben", "another four words"))
    cookie = sign_in(record, "ben", "another four words").cookie
    sign_out(record, cookie)
    record.write(lambda session: remove_user(session, "ben"))
    record.write(lambda session: revoke_token(session, "robot"))
    with record.read() as session:
        assert list(find_breaks(session)) == []
        entries = session.scalars(select(LogEntry).order_by(LogEntry.seq)).all()
        assert [entry.event for entry in entries] == [
            "user-added", "user-added", "token-created", "password-changed", "sign-in", "sign-out",
            "user-removed", "token-revoked",
        ]  # fmt: skip
        told = " ".join(f"{entry.subject} {entry.digest}" for entry in entries)
    assert not any(name in told for name in ("anna", "ben", "robot"))


def test_a_role_that_was_changed_behind_the_services_back_is_seen(sqlite_record):
    _add(sqlite_record)
    _add(sqlite_record, "ben", Role.READER)
    _create(sqlite_record)
    with sqlite_record.read() as session:
        logged = {entry.subject: entry.digest for entry in session.scalars(select(LogEntry)).all()}
        ben, robot = find_user(session, "ben"), list_tokens(session)[0]
        assert logged[ben.id] == digest_user(ben)
        assert logged[robot.id] == digest_token(robot)
        session.expunge_all()
        ben.role = robot.role = Role.ADMIN
        assert logged[ben.id] != digest_user(ben)
        assert logged[robot.id] != digest_token(robot)
