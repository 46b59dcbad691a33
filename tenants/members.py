"""Members: who comes in, who is in a business, and in which role."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, bindparam, or_, select, true
from sqlalchemy.orm import Session, contains_eager

from tenants import accounts, businesses
from tenants.errors import NotFound
from tenants.models import Business, Login, Member, Role, User
from tenants.permissions import Actor, May


@dataclass(frozen=True)
class Arrival:
    """Somebody with an open login; and they in the business that they asked for, if they may be there."""

    login: Login
    actor: Actor | None


def arrive(session: Session, token: str, slug: str | None, *, idle: timedelta, longest: timedelta) -> Arrival | None:
    """Whose login this token opens, and what they are in the business of this short name. None if it opens none."""
    values = {"token": accounts.hashed(token), "slug": slug if slug and businesses.is_slug(slug) else ""}
    found = session.execute(_arriving(idle.total_seconds(), longest.total_seconds()), values).first()
    return Arrival(found.Login, _actor(found.Login.user, found.Business, found.role)) if found else None


def enter(session: Session, user: User, slug: str) -> Actor:
    """The user in the business of this short name. NotFound alike for a foreign business and a missing one."""
    if not businesses.is_slug(slug):
        raise NotFound
    found = session.execute(_entering(), {"user": user.id, "slug": slug}).first()
    actor = _actor(user, found.Business, found.role) if found else None
    if actor is None:
        raise NotFound
    return actor


def _actor(user: User, business: Business | None, role: str | None) -> Actor | None:
    theirs = Role.PLATFORM_ADMIN if user.is_platform_admin else role and Role(role)
    return Actor(user, business, theirs) if business and theirs else None


@functools.lru_cache(maxsize=8)
def _arriving(idle: float, longest: float) -> Select[tuple[Login, Business, str]]:
    """Built once, and one query for both: every request asks it."""
    return (
        select(Login, Business, Member.role)
        .join(Login.user)
        .outerjoin(Business, Business.slug == bindparam("slug"))
        .outerjoin(Member, (Member.business_id == Business.id) & (Member.user_id == Login.user_id))
        .options(contains_eager(Login.user))
        .where(accounts.is_open(idle, longest))
    )


@functools.cache
def _entering() -> Select[tuple[Business, str]]:
    """A business and the role of a user there."""
    theirs = (Member.business_id == Business.id) & (Member.user_id == bindparam("user"))
    return select(Business, Member.role).outerjoin(Member, theirs).where(Business.slug == bindparam("slug"))


def everywhere(session: Session, user: User) -> list[Actor]:
    """The user in each business that they can switch to, by name, with the role they have there."""
    role = select(Member.role).where(Member.business_id == Business.id, Member.user_id == user.id).scalar_subquery()
    found = session.execute(
        select(Business, role.label("role"))
        .where(Business.archived_at.is_(None), true() if user.is_platform_admin else role.is_not(None))
        .order_by(Business.name, Business.id)
    )
    return [
        Actor(user, business, Role.PLATFORM_ADMIN if user.is_platform_admin else Role(name)) for business, name in found
    ]


def search(session: Session, by: Actor, part: str, limit: int) -> Sequence[User]:
    """The first members of the business with `part` in name or e-mail, by name."""
    by.require(May.SEE_ALL)
    part = part.strip().lower()
    return session.scalars(
        select(User)
        .join(Member, (Member.user_id == User.id) & (Member.business_id == by.business.id))
        .where(or_(User.sort_name.contains(part, autoescape=True), User.email.contains(part, autoescape=True)))
        .order_by(User.sort_name, User.id)
        .limit(limit)
    ).all()


def add(session: Session, business: Business, user: User, role: Role = Role.MEMBER) -> Member:
    """Let a user into a business; one who is in already gets the role."""
    standing = session.scalar(select(Member).where(Member.business_id == business.id, Member.user_id == user.id))
    if standing is None:
        standing = Member(business_id=business.id, user_id=user.id)
        session.add(standing)
    standing.role = role
    session.flush()
    return standing
