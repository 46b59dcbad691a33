"""Limits: how many tasks of a business, or of one type in it, may run at once.

A worker's turn holds one claim token and runs one task at a time. So what counts are tokens, not claimed tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from jobs import judge, queue, task_types
from jobs.judge import Standing
from jobs.models import Limit, Task
from tenants import audit
from tenants.database import table
from tenants.errors import Invalid
from tenants.permissions import Actor, May

_tasks = table(Task)
MOST = 10_000
_EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class BadLimit(Invalid):
    """A limit is a whole number from 0 to 10,000."""


def set(  # noqa: A001 - limits.set(...)
    session: Session, by: Actor, business_id: int, max_running: int | None, task_type: str | None = None
) -> Limit | None:
    """Let at most `max_running` tasks of a business run at once, or of one type in it; None lifts the limit.

    What runs already goes on. Setting the same again changes nothing.
    """
    by.require(May.LIMIT, business_id)
    if max_running is not None and not 0 <= max_running <= MOST:
        raise BadLimit(field="max_running")
    if task_type is not None:
        task_types.get(task_type)
    judge.stop_claims(session, business_id)  # so that no claim under way starts more
    where = (Limit.business_id == business_id, Limit.task_type.is_not_distinct_from(task_type))
    standing = session.scalar(select(Limit).where(*where))
    before = standing.max_running if standing else None
    if before == max_running:
        return standing
    session.execute(delete(Limit).where(*where))
    new = None if max_running is None else Limit(business_id=business_id, task_type=task_type, max_running=max_running)
    if new:
        session.add(new)
        session.flush()
    subject = f"limit:{task_type or 'business'}"
    audit.record(session, by, "limit", subject, before={"max_running": before}, after={"max_running": max_running})
    for name in task_types.queues():
        queue.wake(session, business_id, name)
    return new


def search(session: Session, by: Actor) -> Sequence[Limit]:
    """The limits that are set for the business: that of all its tasks first, then by type."""
    by.require(May.LIMIT)
    first = Limit.task_type.is_not(None)
    return session.scalars(
        select(Limit).where(Limit.business_id == by.business.id).order_by(first, Limit.task_type)
    ).all()


def any_of(name: str, now: Standing) -> bool:
    """Whether a limit counts for a queue of this business."""
    return None in now.limits or bool(_of_types(name, now))


def open_types(session: Session, business_id: int, name: str, now: Standing) -> list[str]:
    """The types of a queue of which one more task may start; none when the business runs all it may."""
    here = [one.name for one in task_types.all_types() if one.queue == name]
    if not any_of(name, now):
        return here
    at_work = _at_work(session, business_id)
    if len({token for token, _ in at_work}) >= now.limits.get(None, MOST + 1):
        return []
    of_types = _of_types(name, now)
    return [one for one in here if sum(type_ == one for _, type_ in at_work) < of_types.get(one, MOST + 1)]


def wake_others(session: Session, business_id: int, name: str) -> None:
    """After the commit, let the other queues of a limited business try for the place that a turn of this one left."""
    if None in judge.standing(session, business_id).limits:
        for other in task_types.queues():
            if other != name:
                queue.wake(session, business_id, other)


def offer_places(session: Session, business_id: int, name: str, left: Collection[str]) -> None:
    """After the commit, let another worker try for the places of these types, which a turn left that goes on."""
    if left and not _of_types(name, judge.standing(session, business_id)).keys().isdisjoint(left):
        queue.wake(session, business_id, name)


def _of_types(name: str, now: Standing) -> dict[str, int]:
    """The limits of the types of a queue: as set for the business, else as the type declares."""
    most = {one.name: now.limits.get(one.name, one.max_running) for one in task_types.all_types() if one.queue == name}
    return {type_: limit for type_, limit in most.items() if limit is not None}


def _at_work(session: Session, business_id: int) -> Sequence[tuple[str, str]]:
    """The claim tokens that are held in a business, each with the types it holds tasks of."""
    # A closed range of leases, and a business in disguise: so un-analysed tables, too, are entered by their index.
    held = (_tasks.c.lease_until.is_not(None), _tasks.c.lease_until.between(*_EVER))
    mine = func.coalesce(_tasks.c.business_id, 0) == business_id
    rows = session.execute(select(_tasks.c.claim_token, _tasks.c.task_type).where(*held, mine).distinct())
    return [(str(token), type_) for token, type_ in rows]
