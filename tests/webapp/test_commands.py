"""The first people of an installation come by the command line."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import func, select

from jobs.models import Limit
from tenants import accounts, members
from tenants.database import transaction
from tenants.models import Login, Role, User
from tests import look
from tests.factories import Cast

PASSWORD = "correct-horse"


def flask(app: Flask, *command: str) -> tuple[int, str]:
    """Run a command; its status and what it said."""
    result = app.test_cli_runner().invoke(args=command)
    return result.exit_code, result.output


def test_a_new_admin_is_let_into_a_new_business(app: Flask, cast: Cast) -> None:
    assert flask(app, "accounts", "create", "Eve@Example.com", "Eve", "--password", PASSWORD)[0] == 0
    assert flask(app, "businesses", "create", "umbrella", "Umbrella")[0] == 0
    assert flask(app, "members", "add", "umbrella", "eve@example.com", "--role", "admin")[0] == 0
    with transaction(read_only=True) as session:
        eve = accounts.find(session, "eve@example.com")
        assert eve
        assert members.enter(session, eve, "umbrella").role is Role.ADMIN


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("accounts", "create", "ada@example.com", "Ada", "--password", PASSWORD), "already"),
        (("accounts", "create", "no-address", "Eve", "--password", PASSWORD), "e-mail address"),
        (("accounts", "create", "eve@example.com", " ", "--password", PASSWORD), "name"),
        (("accounts", "create", "eve@example.com", "Eve", "--password", "short"), "8 characters"),
        (("accounts", "create", "eve@example.com", "Eve", "--password", "Password1"), "common"),
        (("accounts", "create", "eve@example.com", "Eve", "--password", accounts.DEMO_PASSWORD), "common"),
        (("accounts", "create", "eve\udcff@example.com", "Eve", "--password", PASSWORD), "e-mail address"),
        (("accounts", "create", "eve@example.com", "Eve\udcff", "--password", PASSWORD), "name"),
        (("accounts", "create", "eve@example.com", "Eve", "--password", "secret-\udcff"), "8 characters"),
        (("businesses", "create", "acme", "Acme"), "already"),
        (("businesses", "create", "umbrella", "Umbrella\udcff"), "name"),
        (("members", "add", "acme\udcff", "ada@example.com"), "no business acme"),
        (("members", "add", "acme", "ada\udcff@example.com"), "no account ada"),
        (("businesses", "create", "Ac me", "Acme"), "lower-case"),
        (("members", "add", "nowhere", "ada@example.com"), "no business nowhere"),
        (("members", "add", "acme", "nobody@example.com"), "no account nobody"),
        (("members", "add", "acme", "ada@example.com", "--role", "king"), "king"),
        (("accounts", "log-out", "nobody@example.com"), "no account nobody"),
    ],
)
def test_a_wrong_value_is_one_line_status_2_and_no_row(
    app: Flask, cast: Cast, command: tuple[str, ...], says: str
) -> None:
    before = look.scalar(select(func.count()).select_from(User))
    status, said = flask(app, *command)
    assert status == 2
    assert says in said
    assert look.scalar(select(func.count()).select_from(User)) == before


def test_a_limit_is_set_listed_and_lifted(app: Flask, cast: Cast) -> None:
    root = ("--as", "root@example.com")
    assert flask(app, "limits", "set", "acme", "2", *root)[0] == 0
    assert flask(app, "limits", "set", "acme", "1", "--type", "tasks.export", *root)[0] == 0
    assert flask(app, "limits", "list", "acme", *root) == (0, "all tasks\t2\ntasks.export\t1\n")
    assert flask(app, "limits", "set", "acme", "none", *root)[0] == 0
    assert flask(app, "limits", "list", "acme", *root) == (0, "tasks.export\t1\n")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("set", "acme", "many", "--as", "root@example.com"), "whole number"),
        (("set", "acme", "9" * 5_000, "--as", "root@example.com"), "whole number"),
        (("set", "acme", "2", "--type", "no.such", "--as", "root@example.com"), "no.such"),
        (("set", "nowhere", "2", "--as", "root@example.com"), "no business nowhere"),
        (("set", "acme", "2", "--as", "nobody@example.com"), "no account nobody"),
        (("set", "acme", "2", "--as", "ada@example.com"), "allow"),
        (("list", "acme", "--as", "ada@example.com"), "allow"),
    ],
)
def test_a_limit_that_is_wrong_or_not_allowed_is_one_line_and_status_2(
    app: Flask, cast: Cast, command: tuple[str, ...], says: str
) -> None:
    status, said = flask(app, "limits", *command)
    assert status == 2
    assert says in said
    assert look.scalar(select(func.count()).select_from(Limit)) == 0


def test_logging_somebody_out_ends_every_login(app: Flask, cast: Cast) -> None:
    with transaction() as session:
        for user in (cast.ada.user, cast.ada.user, cast.ben.user):
            accounts.begin_login(session, user, None)
    assert flask(app, "accounts", "log-out", "ada@example.com")[0] == 0
    still = look.scalars(select(Login.user_id).where(Login.ended_at.is_(None)))
    assert still == [cast.ben.user.id]
