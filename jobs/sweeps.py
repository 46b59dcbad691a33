"""Sweeps: one act on all tasks that a filter matched, chunk after chunk. `tasks.bulk` is the task that does it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from jobs import bulk, lists
from jobs.bulk import Order, Outcome
from jobs.context import TaskContext
from jobs.filters import TaskFilter
from tenants import accounts, members
from tenants.database import transaction
from tenants.permissions import Actor

_CHUNK = 50  # tasks of one transaction: others wait for it on SQLite


class NoUser(Exception):
    """An act on tasks is what its user may do, so it needs a user."""


def sweep(task: TaskContext, order: Order, wanted: TaskFilter, last_id: int) -> dict[str, object]:
    """Do it to each matching task up to `last_id`, with the rights that the user of the task has by then."""
    total, all_, seen, after = _count(task, wanted), Outcome(), 0, 0
    while ids := _ids(task, wanted, after, last_id):
        with transaction() as session:
            done = bulk.do(session, _actor(session, task), order, ids)
        all_.add(done)
        after, seen = ids[-1], seen + len(ids)
        task.log(f"#{ids[0]} to #{after}: {done}")
        task.progress(seen, max(seen, total))
    task.progress(seen, seen)
    return {bulk.DONE[order.act]: len(all_.done), "passed over": dict(all_.refused)}


def _ids(task: TaskContext, wanted: TaskFilter, after: int, last_id: int) -> list[int]:
    """The next chunk. It is read apart, so that looking for it keeps nobody waiting."""
    with transaction(read_only=True) as session:
        by = _actor(session, task)
        rows = lists.rows_of(session, by, wanted, after_id=after, last_id=last_id, limit=_CHUNK)
        return [row.task.id for row in rows]


def _count(task: TaskContext, wanted: TaskFilter) -> int:
    with transaction(read_only=True) as session:
        return bulk.matching(session, _actor(session, task), wanted)[0].number


def _actor(session: Session, task: TaskContext) -> Actor:
    """Whoever asked for it, with the rights that they have now."""
    user = accounts.find(session, task.user) if task.user else None
    if user is None:
        raise NoUser(NoUser.__doc__)
    return members.enter(session, user, task.business)
