"""Tasks as people handle them: find, edit, delete. `jobs.submitting` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, null, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session, joinedload

from jobs import checks, files, queue, redaction, task_types
from jobs.models import Attempt, Entry, Task, sort_title
from jobs.states import FINAL, WAITING, State
from tenants import audit
from tenants.clock import clock
from tenants.errors import Conflict, NotFound
from tenants.permissions import Actor, May

DELETED = "deleted"  # the cause of what was deleted while it waited


class AlreadyStarted(Conflict):
    """This task has started, so it can no longer be edited."""


class StillRunning(Conflict):
    """This task is running. Interrupt it first."""


class NotWaiting(Conflict):
    """This task does not wait any more."""


def get(session: Session, by: Actor, task_id: int, *, deleted: bool = False) -> Task:
    """A task that the actor may see, with its user; else NotFound. Members see their own.

    With `deleted` also a final one whose deletion can be undone still.
    """
    query = select(Task).where(*seen_by(by), Task.id == task_id).options(joinedload(Task.user))
    found = session.scalar(query if deleted else query.where(Task.is_there()))
    if found is None:
        raise NotFound
    return found


def seen_by(by: Actor) -> list[ColumnElement[bool]]:
    """True of the tasks that the actor may see, in their business: members see their own."""
    here = [Task.business_id == by.business.id]
    return here if by.may(May.SEE_ALL) else [*here, Task.user_id == by.user.id]


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
    checks.check(type_, to)
    before, payload = _as_changes(task), task.payload
    after: dict[str, Any] = {"title": to.title or None, "priority": to.priority, "payload": to.payload}
    after["sort_title"] = sort_title(to.title, task.task_type)
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


def prioritise(session: Session, by: Actor, task_id: int, priority: int) -> Task:
    """Give a task that has not started another priority; AlreadyStarted when it has by now."""
    by.require(May.MANAGE)
    task = get(session, by, task_id)
    return edit(session, by, task_id, Changes(task.title, priority, None, shown_payload(task)))


def retry_now(session: Session, by: Actor, task_id: int) -> Task:
    """Let a task that waits for its start time or its next attempt start as soon as a worker is free.

    Its place is behind what is due already. One that is due itself stays as it is; NotWaiting for any other. Members
    hurry their own tasks only.
    """
    by.require(May.SUBMIT)
    task = get(session, by, task_id)
    before = _when(task)
    waits = (Task.id == task.id, Task.state.in_(sorted(WAITING)))
    hurried = session.scalar(
        update(Task)
        .where(*waits, Task.next_try_at > clock())
        .values(next_try_at=clock())
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    session.refresh(task)
    if hurried is None:
        if task.state not in WAITING:
            raise NotWaiting
        return task
    note(session, by, task, f"Let start now by {by.user.name}")
    audit.record(session, by, "retry", f"task:{task.id}", before=before, after=_when(task))
    queue.wake(session, task.business_id, task.queue)
    return task


def delete(session: Session, by: Actor, task_id: int) -> State | None:
    """Cancel a waiting task, or remove a final one with its log; answer the state it has now, None if it is gone.

    It cannot be undone: `jobs.deletions` has what can. One whose deletion could still be undone is deleted for good.
    StillRunning for one that runs. Members delete their own tasks only.
    """
    by.require(May.SUBMIT)
    task = get(session, by, task_id)
    before = described(task)
    if task.state in FINAL:
        gone = session.scalar(
            sql_delete(Task)
            .where(Task.id == task.id, Task.state.in_(sorted(FINAL)))
            .returning(Task.id)
            .execution_options(synchronize_session=False)
        )
        session.expunge(task)
        if gone is None:  # somebody else deleted it at this moment
            raise NotFound
        files.forget(session, [(task_id, task.task_type)])
        audit.record(session, by, "delete", f"task:{task_id}", before=before)
        return None
    canceled = session.scalar(
        update(Task)
        .where(Task.id == task.id, Task.rests())
        .values(state=State.CANCELED, cause=DELETED, ended_at=clock(), ended_by=by.user.id, undo_until=null())
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    if canceled is None:
        raise StillRunning
    session.refresh(task)
    audit.record(session, by, "delete", f"task:{task_id}", before=before, after={"state": State.CANCELED})
    return State.CANCELED


def note(session: Session, by: Actor, task: Task, said: str) -> None:
    """A line of the task's history: what somebody did to it."""
    about: dict[str, Any] = {"task_id": task.id, "attempt": 0, "at": clock(), "kind": "event", "text": said}
    session.add(Entry(business_id=by.business.id, **about))


def described(task: Task) -> dict[str, Any]:
    """What the audit log keeps of a task, with its state."""
    return {**_as_changes(task), "state": task.state}


def _when(task: Task) -> dict[str, Any]:
    return {"next_try_at": task.next_try_at.isoformat()}


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
        note(session, by, task, f"Edited by {by.user.name}: {', '.join(changed)}")


def _as_changes(task: Task) -> dict[str, Any]:
    """What the audit log keeps of a task. Not its payload's values: they may be secret."""
    return {
        "task_type": task.task_type,
        "title": task.title,
        "priority": task.priority,
        "next_try_at": task.next_try_at.isoformat(),
        "payload_keys": sorted(task.payload),
    }
