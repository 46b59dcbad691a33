"""Businesses: creating them, and those that a user can switch to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenants.errors import Conflict, Invalid
from tenants.models import NAME, Business, Member, User

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class TakenName(Conflict):
    """There is a business with this short name already."""


def create(session: Session, slug: str, name: str) -> Business:
    """A new business, whose pages are at `/b/<slug>`."""
    if not is_slug(slug):
        raise Invalid("A business's short name has lower-case letters, digits and hyphens only.", field="slug")
    name = name.strip()
    if not NAME.fullmatch(name):
        raise Invalid("A business has a name of 100 characters at most.", field="name")
    if find(session, slug):
        raise TakenName(field="slug")
    new = Business(slug=slug, name=name)
    session.add(new)
    session.flush()
    return new


def find(session: Session, slug: str) -> Business | None:
    """The business of this short name, archived or not."""
    if not is_slug(slug):
        return None
    return session.scalar(select(Business).where(Business.slug == slug))


def is_slug(text: str) -> bool:
    """Whether a business could have this short name; others may hold what no database takes."""
    return bool(_SLUG.fullmatch(text))


def open_to(session: Session, user: User) -> Sequence[Business]:
    """The businesses that a user can switch to, by name. A platform admin can enter all of them."""
    every = select(Business).where(Business.archived_at.is_(None)).order_by(Business.name, Business.id)
    if user.is_platform_admin:
        return session.scalars(every).all()
    mine = select(Member.business_id).where(Member.user_id == user.id)
    return session.scalars(every.where(Business.id.in_(mine))).all()
