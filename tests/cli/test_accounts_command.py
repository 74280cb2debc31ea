"""`pneumoscope user` and `pneumoscope token`."""

from __future__ import annotations

import pytest
import typer
from argon2 import PasswordHasher

from pneumoscope.records import Record, accounts, recognise_token, sign_in

PASSWORD = b"four words in a row\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_make_hasher", lambda: hasher)
    monkeypatch.setenv("PNEUMOSCOPE_RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


def test_users_come_change_and_go(run, place):
    added = run("user", "add", "anna", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    assert added == (0, f"anna may sign in as admin, where {place} is the record.\n", "")
    assert run("user", "add", "ben", "--password-stdin", stdin=PASSWORD).code == 0
    listed = run("user", "list").out.splitlines()
    assert [line.split()[:2] for line in listed] == [["anna", "admin"], ["ben", "reader"]]
    changed = run("user", "password", "ben", "--password-stdin", stdin=b"another four words\r\n")
    assert changed.code == 0
    with Record(place) as record:
        assert sign_in(record, "ben", "another four words") is not None
    assert run("user", "remove", "ben").out == "ben may no longer sign in.\n"
    refused = run("user", "remove", "anna")
    assert refused.code == 2
    assert "anna is the only admin" in refused.err


def test_a_token_is_printed_alone(run, place):
    made = run("token", "create", "robot", "--role", "admin")
    assert made.code == 0
    assert f"{place} holds only its hash" in made.err
    with Record(place) as record:
        assert recognise_token(record, made.out.rstrip("\n")).role == "admin"
    listed = run("token", "list").out
    assert listed.startswith("robot")
    assert "used 20" in listed
    assert made.out.strip() not in listed
    assert run("token", "revoke", "robot").out == "The token of robot is worthless.\n"
    assert run("token", "list").out == ""


def test_a_password_is_asked_for_where_nobody_sees_it(run, place, monkeypatch):
    asked = []

    def ask(text, **how):
        asked.append(how)
        return "four words in a row"

    monkeypatch.setattr(typer, "prompt", ask)
    monkeypatch.setattr("pneumoscope.cli.accounts._is_at_terminal", lambda: True)
    assert run("user", "add", "anna", "--role", "admin").code == 0
    assert asked == [{"hide_input": True, "confirmation_prompt": True}]


def test_without_a_terminal_nobody_waits_for_a_password(run, place):
    answer = run("user", "add", "anna", "--role", "admin", stdin=PASSWORD)
    assert answer.code == 2
    assert "send it with --password-stdin" in answer.err


@pytest.mark.parametrize(
    ("arguments", "stdin", "found"),
    [
        ("user add anna --role admin", b"short\n", "12 to 1024 characters"),
        ("user add anna --role admin", b"", "12 to 1024 characters"),
        ("user add anna", PASSWORD, "The first user has to be an admin"),
        ("user add local --role admin", PASSWORD, "'local' is taken"),
        ("user add two/names --role admin", PASSWORD, "A name has 1 to 64"),
        ("user add anna --role chief", PASSWORD, "'chief' is not one of"),
        ("user password nobody", PASSWORD, "There is no user 'nobody'"),
        ("user remove nobody", b"", "There is no user 'nobody'"),
        ("token revoke nobody", b"", "There is no token 'nobody'"),
        ("token create local", b"", "'local' is taken"),
    ],
)
def test_misuse_is_answered_in_a_sentence(run, place, arguments, stdin, found):
    words = arguments.split()
    if words[:2] in (["user", "add"], ["user", "password"]):
        words.append("--password-stdin")
    answer = run(*words, stdin=stdin)
    assert answer.code == 2
    assert found in answer.err
    assert "in a row" not in answer.err
