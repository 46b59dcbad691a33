"""`flask accounts …`, `… businesses …`, `… members …`, `… limits …`: first people, how much may run; `flask fill`.

A wrong value is one line on stderr and status 2. Each command is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup, with_appcontext

from jobs import filling, limits
from tenants import accounts, businesses, members
from tenants.database import transaction
from tenants.errors import NotFound, SluiceError
from tenants.models import Role
from tenants.permissions import Actor

accounts_group = AppGroup("accounts", help="People who can log in.")
businesses_group = AppGroup("businesses", help="The tenants.")
members_group = AppGroup("members", help="Who is in a business, and in which role.")
limits_group = AppGroup("limits", help="How many tasks of a business run at once.")
_ROLES = [role.value for role in (Role.MEMBER, Role.ADMIN, Role.AUDITOR)]


def init_app(app: Flask) -> None:
    """Register the commands."""
    for group in (accounts_group, businesses_group, members_group, limits_group):
        app.cli.add_command(group)
    app.cli.add_command(fill)


def _says_what_is_wrong(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except SluiceError as error:
            raise click.UsageError(error.message) from error

    return run


@accounts_group.command("create")
@click.argument("email")
@click.argument("name")
@click.option("--platform-admin", is_flag=True, help="May run the installation and enter every business.")
@click.password_option(help="Asked for when left out.")
@_says_what_is_wrong
def create_account(email: str, name: str, platform_admin: bool, password: str) -> None:
    """Let a person log in. A new account belongs to no business: see `flask members add`."""
    with transaction() as session:
        accounts.register(session, email, name, password, is_platform_admin=platform_admin)
    click.echo(f"{email} can log in.")


@accounts_group.command("log-out")
@click.argument("email")
@_says_what_is_wrong
def log_out(email: str) -> None:
    """End every login of a person, on every device."""
    with transaction() as session:
        user = accounts.find(session, email)
        if user is None:
            raise NotFound(f"There is no account {email}.")
        accounts.end_all_logins(session, user)
    click.echo(f"{email} is logged out everywhere.")


@businesses_group.command("create")
@click.argument("slug")
@click.argument("name")
@_says_what_is_wrong
def create_business(slug: str, name: str) -> None:
    """Create a business, whose pages are at /b/SLUG."""
    with transaction() as session:
        businesses.create(session, slug, name)
    click.echo(f"{name} is at /b/{slug}/.")


@members_group.command("add")
@click.argument("slug")
@click.argument("email")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    default=Role.MEMBER.value,
)
@_says_what_is_wrong
def add_member(slug: str, email: str, role: str) -> None:
    """Let a person into a business, or change the role of one who is in."""
    with transaction() as session:
        business, user = businesses.find(session, slug), accounts.find(session, email)
        if business is None or user is None:
            raise NotFound(f"There is no {'business ' + slug if business is None else 'account ' + email}.")
        members.add(session, business, user, Role(role))
    click.echo(f"{email} is {role} of {business.name}.")


@limits_group.command("set")
@click.argument("slug")
@click.argument("most")
@click.option("--type", "task_type", help="Only of this task type.")
@click.option("--as", "email", required=True, help="The platform admin who does it, for the audit log.")
@_says_what_is_wrong
def set_limit(slug: str, most: str, task_type: str | None, email: str) -> None:
    """Let at most MOST tasks of a business run at once; "none" lifts the limit."""
    with transaction() as session:
        by = _enter(session, email, slug)
        limits.set(session, by, by.business.id, _number(most), task_type)
    click.echo(f"{by.business.name}: {_what(task_type)}, at most {most} at once.")


@limits_group.command("list")
@click.argument("slug")
@click.option("--as", "email", required=True, help="The platform admin who asks.")
@_says_what_is_wrong
def list_limits(slug: str, email: str) -> None:
    """Show the limits that are set for a business."""
    with transaction(read_only=True) as session:
        for one in limits.search(session, _enter(session, email, slug)):
            click.echo(f"{_what(one.task_type)}\t{one.max_running}")


@click.command("fill")
@click.option("--tasks", default=1_000_000, type=click.IntRange(1, 100_000_000), show_default=True)
@click.option("--businesses", "how_many", default=20, type=click.IntRange(1, 500), show_default=True)
@click.option("--users", default=10_000, type=click.IntRange(20, 1_000_000), show_default=True)
@click.option("--seed", default=1, show_default=True, help="Another one makes other tasks.")
@click.option("--yes", is_flag=True, help="Although there are tasks already.")
@with_appcontext
@_says_what_is_wrong
def fill(tasks: int, how_many: int, users: int, seed: int, yes: bool) -> None:
    """Fill the database with a month of made-up tasks, to see how lists do. Never where real work is done."""
    with transaction() as session:
        filling.fill(session, filling.Plan(tasks, how_many, users, seed), among_others=yes)
    click.echo(f"{tasks:,} tasks of {users:,} users are there; ada@example.com runs the business with most.")


def _enter(session: Any, email: str, slug: str) -> Actor:
    user = accounts.find(session, email)
    if user is None:
        raise NotFound(f"There is no account {email}.")
    if businesses.find(session, slug) is None:
        raise NotFound(f"There is no business {slug}.")
    return members.enter(session, user, slug)


def _number(most: str) -> int | None:
    if most == "none":
        return None
    if not (most.isascii() and most.isdecimal() and len(most) < 10):
        raise limits.BadLimit
    return int(most)


def _what(task_type: str | None) -> str:
    return task_type or "all tasks"
