"""Members: who is in a business, and in which role."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from sqlalchemy import Select, bindparam, or_, select, true
from sqlalchemy.orm import Session

from tenants import businesses
from tenants.errors import NotFound
from tenants.models import Business, Member, Role, User
from tenants.permissions import Actor, May


def enter(session: Session, user: User, slug: str) -> Actor:
    """The user in the business of this short name. NotFound alike for a foreign business and a missing one."""
    if not businesses.is_slug(slug):
        raise NotFound
    found = session.execute(_entering(), {"user": user.id, "slug": slug}).first()
    if found is None or (found.role is None and not user.is_platform_admin):
        raise NotFound
    return Actor(user, found.Business, Role.PLATFORM_ADMIN if user.is_platform_admin else Role(found.role))


@functools.cache
def _entering() -> Select[tuple[Business, str]]:
    """A business and the role of a user there. Built once: every request asks it."""
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
