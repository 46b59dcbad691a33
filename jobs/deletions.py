"""Deletions that can be undone for a while, as pages make them. `tasks.delete` deletes at once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, case, exists, null, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from jobs import files, queue, tasks
from jobs.models import Task
from jobs.states import FINAL, WAITING, State
from jobs.tasks import DELETED, StillRunning
from tenants import audit
from tenants.clock import clock
from tenants.errors import Conflict
from tenants.permissions import Actor, May
from tenants.within import found_by

UNDO_SECONDS = 30.0
CHUNK = 1000  # tasks of each kind made final in one transaction: others wait for it on SQLite


class TooLate(Conflict):
    """This deletion can no longer be undone."""


def begin(session: Session, by: Actor, task_id: int, *, undo_seconds: float = UNDO_SECONDS) -> State:
    """Delete a task such that it can be undone for a while; answer the state that it has meanwhile.

    A waiting one is Cancelling, then Canceled; a final one is gone from every list, then for good. Deleting it again
    changes nothing, and gives no more time. StillRunning for one that runs. Members delete their own tasks only.
    """
    by.require(May.SUBMIT)
    task = tasks.get(session, by, task_id, deleted=True)
    before = tasks.described(task)
    waits = Task.state.in_(sorted(WAITING))
    begun = session.scalar(
        update(Task)
        .where(Task.id == task.id, Task.undo_until.is_(None), or_(waits, Task.state.in_(sorted(FINAL))))
        .values(
            state=case((waits, State.CANCELLING), else_=Task.state),
            cause=case((waits, DELETED), else_=Task.cause),
            ended_by=case((waits, by.user.id), else_=Task.ended_by),
            undo_until=clock(undo_seconds),
        )
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    task = _as_it_is(session, by, task)
    if begun is None:
        if not task.is_deleted:
            raise StillRunning
        return State(task.state)
    tasks.note(session, by, task, f"Deleted by {by.user.name}")
    after = {"state": task.state, "undo_until": _written(task.undo_until)}
    audit.record(session, by, "delete", f"task:{task.id}", before=before, after=after)
    return State(task.state)


def undo(session: Session, by: Actor, task_id: int) -> State:
    """Take a deletion back: the task is as it was, at its old place; answer its state. One not deleted stays as it is.

    TooLate when its time is over; NotFound when the task is gone. Whoever may delete it may do so.
    """
    by.require(May.SUBMIT)
    task = tasks.get(session, by, task_id, deleted=True)
    waited = Task.state == State.CANCELLING
    undone = session.scalar(
        update(Task)
        .where(Task.id == task.id, Task.undo_until > clock())
        .values(
            state=case((waited, State.PENDING), else_=Task.state),  # under a pause it shows as Paused, marked or not
            cause=case((waited, null()), else_=Task.cause),
            ended_by=case((waited, null()), else_=Task.ended_by),
            undo_until=null(),
        )
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    task = _as_it_is(session, by, task)
    if undone is None:
        if task.is_deleted or (task.state == State.CANCELED and task.cause == DELETED):
            raise TooLate
        return State(task.state)
    tasks.note(session, by, task, f"Deletion undone by {by.user.name}")
    audit.record(session, by, "undo delete", f"task:{task.id}", after={"state": task.state})
    queue.wake(session, task.business_id, task.queue)
    return State(task.state)


def _as_it_is(session: Session, by: Actor, task: Task) -> Task:
    """The task read anew; NotFound when its time ran out meanwhile."""
    session.expunge(task)
    return tasks.get(session, by, task.id, deleted=True)


def any_over(session: Session) -> bool:
    """Whether `finish` would find something: a look that takes no lock."""
    return bool(session.scalar(select(exists().where(Task.undo_until.is_not(None), Task.undo_until <= clock()))))


def finish(session: Session) -> int:
    """Make deletions final whose time is over, a chunk at most; how many. What was undone at this moment stays."""
    canceled = session.scalars(
        update(Task)
        .where(*_over(Task.state == State.CANCELLING))
        .values(state=State.CANCELED, ended_at=clock(), undo_until=null())
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    ).all()
    removed = session.execute(
        sql_delete(Task)
        .where(*_over(Task.state.in_(sorted(FINAL))))
        .returning(Task.id, Task.task_type)
        .execution_options(synchronize_session=False)
    ).all()
    files.forget(session, ((row.id, row.task_type) for row in removed))
    return len(canceled) + len(removed)


def _over(state: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    """True of a chunk of what is in such a state and can no longer be undone, and of nothing that changed meanwhile."""
    over = (Task.undo_until.is_not(None), Task.undo_until <= clock(), state)
    return (*over, found_by(Task.id, select(Task.id).where(*over).limit(CHUNK)))


def _written(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
