"""The people of a business as its tasks know them."""

from __future__ import annotations

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from jobs.models import Task
from tenants.models import Member, User
from tenants.permissions import Actor, May


def find(session: Session, by: Actor, user_id: int | None) -> User | None:
    """A member of the business, or somebody who has tasks there."""
    if user_id is None:
        return None
    by.require(May.SEE_ALL)
    known = or_(
        exists().where(Member.user_id == User.id, Member.business_id == by.business.id),
        exists().where(Task.user_id == User.id, Task.business_id == by.business.id),
    )
    return session.scalar(select(User).where(User.id == user_id, known))
