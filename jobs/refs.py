"""What tasks build: those that carry a reference to one thing of the host application, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs import checks, judge, pages
from jobs.models import Task
from jobs.pages import Row
from tenants.models import User
from tenants.permissions import Actor, May

USUAL, MOST = 50, 100  # of a page


@dataclass(frozen=True)
class Found:
    """A page of them; `older` is where the next one begins, None at the end."""

    rows: Sequence[Row]
    older: int | None


def search(session: Session, by: Actor, ref: str, *, before: int | None = None, limit: int = USUAL) -> Found:
    """The tasks with this reference that the actor may see, with ids below `before`; BadRef if nothing can have it.

    Members see their own.
    """
    by.require(May.ENTER)
    checks.check_ref(ref)
    limit = max(1, min(limit, MOST))
    query = select(Task, User.name).where(Task.business_id == by.business.id, Task.ref == ref, Task.is_there())
    if not by.may(May.SEE_ALL):
        query = query.where(func.coalesce(Task.user_id, 0) == by.user.id)  # so that no index of users fits
    if before is not None:
        query = query.where(Task.id < before)
    query = query.outerjoin(Task.user).order_by(Task.ref.desc(), Task.id.desc()).limit(limit + 1)
    found = session.execute(query).tuples().all()
    standing = judge.standing(session, by.business.id)
    shown = found[:limit]
    return Found([pages.row(*one, standing) for one in shown], shown[-1][0].id if len(found) > limit else None)
