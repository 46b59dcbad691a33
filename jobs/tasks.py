"""Tasks as people and programs handle them: submit, find, edit, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session, joinedload

from jobs import payloads, queue, task_types
from jobs.models import Attempt, Entry, Task
from jobs.states import FINAL, WAITING, State
from tenants import audit
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import Business, Member, User
from tenants.permissions import Actor, May

MAX_TITLE = 200
_MAX_PRIORITY = 2**31 - 1


class UnknownBusiness(Invalid):
    """There is no such business, or it is archived and takes no tasks."""


class UnknownUser(Invalid):
    """There is no such user in this business."""


class AlreadyStarted(Conflict):
    """This task has started, so it can no longer be edited."""


class StillRunning(Conflict):
    """This task is running. Interrupt it first."""


class NoZone(Invalid):
    """A start time needs a time zone."""


def submit(
    task_type: str,
    *,
    business: str,
    user: str | None = None,
    payload: dict[str, Any] | None = None,
    title: str | None = None,
    priority: int = 0,
    start_at: datetime | None = None,
    session: Session | None = None,
) -> int:
    """Add a task and answer its id.

    `business` is its short name, `user` an e-mail address (None: the Scheduler). With `session` the task joins the
    caller's transaction: it exists when that commits, and a rollback leaves nothing. Raises UnknownTaskType,
    BadPayload, UnknownBusiness, UnknownUser, NoZone or Invalid; then there is no row.
    """
    new = _New(task_type, business, user, {} if payload is None else payload, title, priority, start_at)
    if session is None:
        with transaction() as own:
            return _submit(own, new)
    return _submit(session, new)


def submit_as(
    session: Session, by: Actor, task_type: str, payload: dict[str, Any], *, title: str | None = None, priority: int = 0
) -> int:
    """Add a task of this person in this business."""
    by.require(May.SUBMIT)
    return submit(
        task_type,
        business=by.business.slug,
        user=by.user.email,
        payload=payload,
        title=title,
        priority=priority,
        session=session,
    )


def get(session: Session, by: Actor, task_id: int) -> Task:
    """A task that the actor may see, with its user; else NotFound. Members see their own."""
    query = select(Task).where(Task.business_id == by.business.id, Task.id == task_id).options(joinedload(Task.user))
    if not by.may(May.SEE_ALL):
        query = query.where(Task.user_id == by.user.id)
    found = session.scalar(query)
    if found is None:
        raise NotFound
    return found


def attempts(session: Session, by: Actor, task_id: int) -> Sequence[Attempt]:
    """The ended attempts of a task, first to last."""
    task = get(session, by, task_id)
    query = select(Attempt).where(Attempt.business_id == task.business_id, Attempt.task_id == task.id)
    return session.scalars(query.order_by(Attempt.number)).all()


def entries(session: Session, by: Actor, task_id: int, limit: int = 500) -> Sequence[Entry]:
    """The last lines of a task's log, oldest first."""
    task = get(session, by, task_id)
    query = select(Entry).where(Entry.business_id == task.business_id, Entry.task_id == task.id)
    return session.scalars(query.order_by(Entry.id.desc()).limit(limit)).all()[::-1]


@dataclass(frozen=True)
class Changes:
    """What an edit sets: all of it, as the form shows all of it."""

    title: str | None
    priority: int
    start_at: datetime | None
    payload: dict[str, Any]


def get_editable(session: Session, by: Actor, task_id: int) -> Task:
    """A task that the actor may edit; AlreadyStarted when it is too late."""
    by.require(May.MANAGE)
    task = get(session, by, task_id)
    if task.state not in WAITING or task.attempts:
        raise AlreadyStarted
    return task


def edit(session: Session, by: Actor, task_id: int, to: Changes) -> Task:
    """Change a task that has not started; AlreadyStarted when it has by now. A start time of None means as it was."""
    by.require(May.MANAGE)
    task = get(session, by, task_id)
    _check(task_types.get(task.task_type), to)
    before = _as_changes(task)
    after: dict[str, Any] = {"title": to.title or None, "priority": to.priority, "payload": to.payload}
    if to.start_at:
        after["next_try_at"] = to.start_at
    edited = session.scalar(
        update(Task)
        .where(Task.id == task.id, Task.state.in_(sorted(WAITING)), Task.attempts == 0)
        .values(**after)
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    if edited is None:
        raise AlreadyStarted
    session.refresh(task)
    audit.record(session, by, "edit", f"task:{task.id}", before=before, after=_as_changes(task))
    queue.wake(session, task.business_id, task.queue)
    return task


def delete(session: Session, by: Actor, task_id: int) -> State | None:
    """Cancel a waiting task, or remove a final one with its log; answer the state it has now, None if it is gone.

    StillRunning for one that runs. Members delete their own tasks only.
    """
    by.require(May.SUBMIT)
    task = get(session, by, task_id)
    before = {**_as_changes(task), "state": task.state}
    if task.state in FINAL:
        session.execute(
            sql_delete(Task)
            .where(Task.id == task.id, Task.state.in_(sorted(FINAL)))
            .execution_options(synchronize_session=False)
        )
        session.expunge(task)
        audit.record(session, by, "delete", f"task:{task_id}", before=before)
        return None
    canceled = session.scalar(
        update(Task)
        .where(Task.id == task.id, Task.state.in_(sorted(WAITING)))
        .values(state=State.CANCELED, cause="deleted", ended_at=clock(), ended_by=by.user.id)
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    if canceled is None:
        raise StillRunning
    audit.record(session, by, "delete", f"task:{task_id}", before=before, after={"state": State.CANCELED})
    return State.CANCELED


@dataclass(frozen=True)
class _New:
    """What a submit asks for."""

    task_type: str
    business: str
    user: str | None
    payload: dict[str, Any]
    title: str | None
    priority: int
    start_at: datetime | None


def _submit(session: Session, new: _New) -> int:
    type_ = task_types.get(new.task_type)
    _check(type_, new)
    query = select(Business.id).where(Business.slug == payloads.storable(new.business), Business.archived_at.is_(None))
    business_id = session.scalar(query)
    if business_id is None:
        raise UnknownBusiness(field="business")
    task = Task(
        business_id=business_id,
        user_id=_user_id(session, business_id, new.user),
        task_type=type_.name,
        queue=type_.queue,
        title=new.title or None,
        payload=new.payload,
        priority=new.priority,
        max_attempts=type_.max_attempts,
    )
    if new.start_at:
        task.next_try_at = new.start_at
    session.add(task)
    session.flush()
    queue.wake(session, business_id, type_.queue)
    return task.id


def _user_id(session: Session, business_id: int, email: str | None) -> int | None:
    if email is None:
        return None
    member = exists().where(Member.user_id == User.id, Member.business_id == business_id)
    here = select(User.id).where(
        User.email == payloads.storable(email.strip().lower()), or_(User.is_platform_admin, member)
    )
    found = session.scalar(here)
    if found is None:
        raise UnknownUser(field="user")
    return found


def _check(type_: task_types.TaskType, asked: _New | Changes) -> None:
    """One clear error for the first thing that is wrong."""
    payloads.check(type_, asked.payload)
    title = asked.title or ""
    if len(title) > MAX_TITLE or title != payloads.storable(title):
        raise Invalid(f"A title has {MAX_TITLE} characters at most.", field="title")
    if not _is_priority(asked.priority):
        raise Invalid(
            f"A priority is a whole number between -{_MAX_PRIORITY:,} and {_MAX_PRIORITY:,}.", field="priority"
        )
    if asked.start_at is not None and asked.start_at.tzinfo is None:
        raise NoZone(field="start_at")
    if asked.start_at is not None and not 1970 <= asked.start_at.year <= 9000:
        raise Invalid("A start time lies between the years 1970 and 9000.", field="start_at")


def _is_priority(value: object) -> bool:
    return isinstance(value, int) and abs(value) <= _MAX_PRIORITY


def _as_changes(task: Task) -> dict[str, Any]:
    """What the audit log keeps of a task. Not its payload's values: they may be secret."""
    return {
        "task_type": task.task_type,
        "title": task.title,
        "priority": task.priority,
        "next_try_at": task.next_try_at.isoformat(),
        "payload_keys": sorted(task.payload),
    }
