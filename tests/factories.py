"""The cast. Ada runs Acme and Globex, Ben and Cleo work at Acme, Zoe runs Initech and must never see Acme."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from tenants import demo, members
from tenants.accounts import find
from tenants.businesses import find as find_business
from tenants.models import Business
from tenants.permissions import Actor


@dataclass
class Cast:
    """The people, each in the business they belong to, and the businesses."""

    acme: Business
    globex: Business
    initech: Business
    ada: Actor
    ben: Actor
    cleo: Actor
    zoe: Actor
    root: Actor


def fill(session: Session) -> None:
    """Make the cast: the demo's people are the tests' people."""
    demo.fill(session)


def assemble(session: Session) -> Cast:
    """The cast of a filled database."""

    def enter(name: str, slug: str) -> Actor:
        user = find(session, f"{name}@example.com")
        assert user
        return members.enter(session, user, slug)

    businesses = {slug: find_business(session, slug) for slug in ("acme", "globex", "initech")}
    actors = {name: enter(name, "acme") for name in ("ada", "ben", "cleo", "root")}
    return Cast(**businesses, **actors, zoe=enter("zoe", "initech"))  # type: ignore[arg-type]
