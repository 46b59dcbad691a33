"""Tasks as people and programs handle them: submit, find, edit, delete."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import exists, or_, select, text, update
from sqlalchemy.orm import Session, joinedload

from jobs import payloads, queue, redaction, task_types
from jobs.models import Attempt, Entry, Task
from jobs.states import FINAL, WAITING, State
from tenants import audit
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import Business, Member, User
from tenants.permissions import Actor, May

MAX_TITLE = 200
MAX_KEY = 200
_MAX_PRIORITY = 2**31 - 1
_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")


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


class BadTimeout(Invalid):
    """A timeout is a number of seconds, more than 0 and a year at most."""


class BadKey(Invalid):
    """A unique key is a text of 1 to 200 characters. The time that it stays taken is a year at most."""


class DuplicateTask(Conflict):
    """This unique key is taken by another task."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"This unique key is taken by task {task_id}.", field="unique_key")
        self.task_id = task_id


def submit(
    task_type: str,
    *,
    business: str,
    user: str | None = None,
    payload: dict[str, Any] | None = None,
    title: str | None = None,
    priority: int = 0,
    start_at: datetime | None = None,
    timeout: float | None = None,
    unique_key: str | None = None,
    unique_for: float | timedelta | None = None,
    session: Session | None = None,
) -> int:
    """Add a task and answer its id.

    `business` is its short name, `user` an e-mail address (None: the Scheduler). `timeout`, in seconds, replaces the
    type's. No other task of the business can have the `unique_key` while this one is unfinished, nor for `unique_for`
    (seconds) from now: that is a DuplicateTask, which knows the task's id.

    With `session` the task joins the caller's transaction: it exists when that commits, and a rollback leaves nothing.
    Raises UnknownTaskType, BadPayload, UnknownBusiness, UnknownUser, NoZone, BadTimeout, BadKey, Invalid or
    DuplicateTask; then there is no row, and the caller's transaction goes on.
    """
    new = New(
        task_type,
        business,
        user,
        {} if payload is None else payload,
        title,
        priority,
        start_at=start_at,
        timeout=timeout,
        unique_key=unique_key,
        unique_for=unique_for,
    )
    if session is None:
        with transaction() as own:
            return _submit(own, new)
    return _submit(session, new)


def submit_as(
    session: Session,
    by: Actor,
    task_type: str,
    payload: dict[str, Any],
    *,
    title: str | None = None,
    priority: int = 0,
    start_at: datetime | None = None,
    timeout: float | None = None,
    unique_key: str | None = None,
    unique_for: float | timedelta | None = None,
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
        start_at=start_at,
        timeout=timeout,
        unique_key=unique_key,
        unique_for=unique_for,
        session=session,
    )


@dataclass(frozen=True)
class New:
    """What a submit asks for."""

    task_type: str
    business: str
    user: str | None
    payload: dict[str, Any]
    title: str | None
    priority: int
    start_at: datetime | None = None
    timeout: float | None = None
    unique_key: str | None = None
    unique_for: float | timedelta | None = None


def add(session: Session, new: New) -> Task:
    """The row of a new task. Nobody is woken for it: that is the caller's."""
    type_ = task_types.get(new.task_type)
    _check(type_, new)
    _check_limits(new)
    business_id = _business_id(session, new.business)
    user_id = _user_id(session, business_id, new.user)
    if new.unique_key is not None:
        _keep_unique(session, business_id, new.unique_key)
    task = Task(
        business_id=business_id,
        user_id=user_id,
        task_type=type_.name,
        queue=type_.queue,
        title=new.title or None,
        payload=new.payload,
        priority=new.priority,
        max_attempts=type_.max_attempts,
        timeout_seconds=new.timeout,
        unique_key=new.unique_key,
        unique_until=None if new.unique_for is None else clock(_seconds(new.unique_for)),
    )
    if new.start_at:
        task.next_try_at = new.start_at
    session.add(task)
    session.flush()
    return task


def get(session: Session, by: Actor, task_id: int) -> Task:
    """A task that the actor may see, with its user; else NotFound. Members see their own."""
    query = select(Task).where(Task.business_id == by.business.id, Task.id == task_id).options(joinedload(Task.user))
    if not by.may(May.SEE_ALL):
        query = query.where(Task.user_id == by.user.id)
    found = session.scalar(query)
    if found is None:
        raise NotFound
    return found


def shown_payload(task: Task) -> dict[str, Any]:
    """The payload as pages, exports and programs may have it: what its type calls secret is masked."""
    shown: dict[str, Any] = redaction.masked(task.task_type, task.payload)
    return shown


def attempts(session: Session, by: Actor, task_id: int) -> Sequence[Attempt]:
    """The ended attempts of a task, first to last."""
    task = get(session, by, task_id)
    query = select(Attempt).where(Attempt.business_id == task.business_id, Attempt.task_id == task.id)
    return session.scalars(query.order_by(Attempt.number)).all()


def entries(session: Session, by: Actor, task_id: int, limit: int = 500) -> Sequence[Entry]:
    """The last lines of a task's log, oldest first. What was done to the task is in its history only."""
    task = get(session, by, task_id)
    query = select(Entry).where(
        Entry.business_id == task.business_id, Entry.task_id == task.id, Entry.kind.in_(("log", "step"))
    )
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
    """Change a task that has not started; AlreadyStarted when it has by now.

    A start time of None means as it was, and so does the mask of a secret.
    """
    by.require(May.MANAGE)
    task = get(session, by, task_id)
    type_ = task_types.get(task.task_type)
    to = replace(to, payload=redaction.unmasked(type_, to.payload, task.payload))
    _check(type_, to)
    before, payload = _as_changes(task), task.payload
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
    changed = {name for name in {*payload, *task.payload} if payload.get(name, ...) != task.payload.get(name, ...)}
    _note_edit(session, by, task, before, changed)
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


def _submit(session: Session, new: New) -> int:
    task = add(session, new)
    queue.wake(session, task.business_id, task.queue)
    return task.id


def _keep_unique(session: Session, business_id: int, key: str) -> None:
    """DuplicateTask while a task of the business has this key; whoever else asks for it waits for our commit.

    Only the newest task with the key can have it: the older ones had lost it when that was added.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite's write lock does so by itself
        digest = hashlib.blake2b(f"{business_id}:{key}".encode(), digest_size=8).digest()
        session.execute(_LOCK, {"lock": int.from_bytes(digest, signed=True)})
    newest = (
        select(Task.id)
        .where(Task.business_id == business_id, Task.unique_key == key)
        .order_by(Task.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    taken = or_(Task.state.not_in(sorted(FINAL)), Task.unique_until > clock())
    holder = session.scalar(select(Task.id).where(Task.id == newest, taken))
    if holder is not None:
        raise DuplicateTask(holder)


def _business_id(session: Session, slug: object) -> int:
    found = None
    if isinstance(slug, str):
        query = select(Business.id).where(Business.slug == payloads.storable(slug), Business.archived_at.is_(None))
        found = session.scalar(query)
    if found is None:
        raise UnknownBusiness(field="business")
    return found


def _user_id(session: Session, business_id: int, email: str | None) -> int | None:
    if email is None:
        return None
    if not isinstance(email, str):
        raise UnknownUser(field="user")
    member = exists().where(Member.user_id == User.id, Member.business_id == business_id)
    here = select(User.id).where(
        User.email == payloads.storable(email.strip().lower()), or_(User.is_platform_admin, member)
    )
    found = session.scalar(here)
    if found is None:
        raise UnknownUser(field="user")
    return found


def _check(type_: task_types.TaskType, asked: New | Changes) -> None:
    """One clear error for the first thing that is wrong."""
    payloads.check(type_, asked.payload)
    if not _is_text(asked.title or "", MAX_TITLE):
        raise Invalid(f"A title has {MAX_TITLE} characters at most.", field="title")
    if not _is_priority(asked.priority):
        raise Invalid(
            f"A priority is a whole number between -{_MAX_PRIORITY:,} and {_MAX_PRIORITY:,}.", field="priority"
        )
    _check_start(asked.start_at)


def _check_start(at: object) -> None:
    if at is None:
        return
    if not isinstance(at, datetime):
        raise Invalid("A start time is a date and time with its zone.", field="start_at")
    if at.utcoffset() is None:
        raise NoZone(field="start_at")
    if not 1970 <= at.year <= 9000:
        raise Invalid("A start time lies between the years 1970 and 9000.", field="start_at")


def _check_limits(new: New) -> None:
    """The timeout and the unique key, which an edit leaves alone."""
    if new.timeout is not None and not task_types.is_seconds(new.timeout):
        raise BadTimeout(field="timeout")
    if new.unique_key is not None and not (new.unique_key and _is_text(new.unique_key, MAX_KEY)):
        raise BadKey(field="unique_key")
    if new.unique_for is not None and (new.unique_key is None or not task_types.is_seconds(_seconds(new.unique_for))):
        raise BadKey(field="unique_for")


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _is_text(value: object, most: int) -> bool:
    """Whether it is a text that fits and can be stored."""
    return isinstance(value, str) and len(value) <= most and value == payloads.storable(value)


def _is_priority(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_PRIORITY


def _note_edit(session: Session, by: Actor, task: Task, before: dict[str, Any], payload_keys: set[str]) -> None:
    """What an edit changed, for the history; of the payload only which keys, since values may be secret."""
    after = _as_changes(task)
    changed = [
        f"{title} {before[name] or 'none'} → {after[name] or 'none'}"
        for name, title in (("title", "title"), ("next_try_at", "start"))
        if before[name] != after[name]
    ]
    if before["priority"] != after["priority"]:
        changed.append(f"priority {before['priority']} → {after['priority']}")
    if payload_keys:
        changed.append(f"payload ({', '.join(sorted(payload_keys))})")
    if changed:
        said = f"Edited by {by.user.name}: {', '.join(changed)}"
        note = {"task_id": task.id, "attempt": 0, "at": clock(), "kind": "event", "text": said}
        session.add(Entry(business_id=task.business_id, **note))


def _as_changes(task: Task) -> dict[str, Any]:
    """What the audit log keeps of a task. Not its payload's values: they may be secret."""
    return {
        "task_type": task.task_type,
        "title": task.title,
        "priority": task.priority,
        "next_try_at": task.next_try_at.isoformat(),
        "payload_keys": sorted(task.payload),
    }
