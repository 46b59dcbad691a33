"""Stopping tasks for good: what waits is Canceled at once, what runs is asked to clean up first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, null, or_, update
from sqlalchemy.orm import Session

from jobs import queue, tasks
from jobs.models import Entry, Task
from jobs.records import INTERRUPTED
from jobs.states import State
from tenants import audit
from tenants.clock import clock
from tenants.errors import Conflict
from tenants.permissions import Actor, May


class AlreadyOver(Conflict):
    """This task is over already."""


def interrupt(session: Session, by: Actor, task_id: int) -> State:
    """Stop a task: answer Canceled if it waited, Cancelling if it runs. Asking again changes nothing.

    One that waits for its deletion to be undone waited, and cannot come back now. Members stop their own tasks only.
    AlreadyOver for a final one: whichever comes first, end or interrupt, counts.
    """
    by.require(May.SUBMIT)
    task = tasks.get(session, by, task_id)
    before = task.state
    waits = Task.rests()  # of a deletion: an undo must not bring it back
    asked = session.execute(
        update(Task)
        .where(Task.id == task.id, or_(waits, Task.state == State.RUNNING))
        .values(
            state=case((waits, State.CANCELED), else_=State.CANCELLING),
            ended_at=case((waits, clock()), else_=null()),
            ended_by=by.user.id,
            cause=INTERRUPTED,
            undo_until=null(),
        )
        .returning(Task.state, Task.attempts, Task.worker)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    session.refresh(task)
    if asked is None:
        if task.state != State.CANCELLING:
            raise AlreadyOver
        return State.CANCELLING
    _note(session, by, task, asked.attempts)
    audit.record(session, by, "interrupt", f"task:{task.id}", before={"state": before}, after={"state": asked.state})
    if asked.state == State.CANCELLING:
        queue.knock(session, asked.worker)
    return State(asked.state)


def _note(session: Session, by: Actor, task: Task, attempt: int) -> None:
    about: dict[str, Any] = {"business_id": task.business_id, "task_id": task.id, "attempt": attempt, "at": clock()}
    session.add(Entry(kind="event", text=f"Interrupted by {by.user.name}", **about))
