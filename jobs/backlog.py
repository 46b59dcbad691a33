"""How much waits in each queue of a business, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs import task_types
from jobs.counting import LIMIT, Count
from jobs.models import Task
from jobs.states import State
from tenants.clock import clock
from tenants.permissions import Actor, May

_MOST_PRIORITIES = 50  # looked at: more of them than anybody uses


@dataclass(frozen=True)
class Backlog:
    """One queue: how many pending tasks it has, and since when the oldest of those that may start is ready."""

    queue: str
    pending: Count
    oldest_ready_at: datetime | None


def search(session: Session, by: Actor) -> list[Backlog]:
    """The queues of the business in which something is pending."""
    by.require(May.SEE_ALL)
    found = [_of(session, by.business.id, name) for name in task_types.queues()]
    return [one for one in found if one.pending.number]


def _of(session: Session, business_id: int, name: str) -> Backlog:
    here = (Task.business_id == business_id, Task.queue == name, Task.stands(State.PENDING))
    few = select(Task.id).where(*here).limit(LIMIT + 1).subquery()
    number = session.scalar(select(func.count()).select_from(few)) or 0
    oldest = _oldest_ready_at(session, business_id, name) if number else None
    return Backlog(name, Count(min(number, LIMIT), number > LIMIT), oldest)


def _oldest_ready_at(session: Session, business_id: int, name: str) -> datetime | None:
    """Priority by priority, each one look into the index of what is pending: it has no order by time alone."""
    oldest, priority = None, None
    for _ in range(_MOST_PRIORITIES):
        here = [Task.business_id == business_id, Task.queue == name, Task.stands(State.PENDING)]
        if priority is not None:
            here.append(Task.priority < priority)
        first = session.execute(
            select(Task.priority, Task.next_try_at, Task.next_try_at <= clock())
            .where(*here)
            .order_by(*Task.claim_order())
            .limit(1)
        ).first()
        if first is None:
            return oldest
        priority, at, is_ready = first
        oldest = min(oldest or at, at) if is_ready else oldest
    return oldest
