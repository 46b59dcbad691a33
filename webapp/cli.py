"""`flask accounts …`, `flask businesses …`, `flask members …`: how an installation gets its first people.

A wrong value is one line on stderr and status 2. Each command is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup

from tenants import accounts, businesses, members
from tenants.database import transaction
from tenants.errors import NotFound, SluiceError
from tenants.models import Role

accounts_group = AppGroup("accounts", help="People who can log in.")
businesses_group = AppGroup("businesses", help="The tenants.")
members_group = AppGroup("members", help="Who is in a business, and in which role.")
_ROLES = [role.value for role in (Role.MEMBER, Role.ADMIN, Role.AUDITOR)]


def init_app(app: Flask) -> None:
    """Register the commands."""
    for group in (accounts_group, businesses_group, members_group):
        app.cli.add_command(group)


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
