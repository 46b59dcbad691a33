"""Members: who is in a business, and in which role."""

from __future__ import annotations

from sqlalchemy import select, true
from sqlalchemy.orm import Session

from tenants import businesses
from tenants.errors import NotFound
from tenants.models import Business, Member, Role, User
from tenants.permissions import Actor


def enter(session: Session, user: User, slug: str) -> Actor:
    """The user in the business of this short name. NotFound alike for a foreign business and a missing one."""
    if not businesses.is_slug(slug):
        raise NotFound
    found = session.execute(
        select(Business, Member.role)
        .outerjoin(Member, (Member.business_id == Business.id) & (Member.user_id == user.id))
        .where(Business.slug == slug)
    ).first()
    if found is None or (found.role is None and not user.is_platform_admin):
        raise NotFound
    return Actor(user, found.Business, Role.PLATFORM_ADMIN if user.is_platform_admin else Role(found.role))


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


def add(session: Session, business: Business, user: User, role: Role = Role.MEMBER) -> Member:
    """Let a user into a business; one who is in already gets the role."""
    standing = session.scalar(select(Member).where(Member.business_id == business.id, Member.user_id == user.id))
    if standing is None:
        standing = Member(business_id=business.id, user_id=user.id)
        session.add(standing)
    standing.role = role
    session.flush()
    return standing
