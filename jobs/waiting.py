"""Why a task waits: one main cause, and when it may start."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from jobs import judge, limits, pauses, queue, services, task_types
from jobs.judge import Standing
from jobs.models import Attempt, Pause, Task
from jobs.states import WAITING, State
from tenants.clock import clock
from tenants.permissions import Actor, May

_MOST = 1000  # tasks ahead that are counted; of more nobody can tell when they are done
_RECENT = 200  # ended attempts, of all businesses, that tell how fast this one goes on
_STILL = timedelta(minutes=1)  # a queue in which nothing ended for so long has no pace


class Kind(enum.StrEnum):
    """What a task waits for."""

    PAUSE = "pause"
    UNKNOWN_TYPE = "unknown type"
    START_TIME = "start time"
    RETRY_DELAY = "retry delay"
    NO_WORKER = "no worker"
    LIMIT = "limit"
    ORDER = "order"


@dataclass(frozen=True)
class Reason:
    """The main cause of a wait, in words. No `starts_at`: nobody knows. `pause` is the one that holds the task."""

    kind: Kind
    text: str
    starts_at: datetime | None = None
    pause: Pause | None = field(default=None, compare=False)


def why(session: Session, by: Actor, task: Task) -> Reason | None:
    """The first cause that keeps a task from starting, in the order in which the engine asks; None if it does not wait.

    Redis is asked last, and only about workers; while it is away no worker is said to be missing.
    """
    by.require(May.ENTER, task.business_id)
    if task.state not in WAITING:
        return None
    now = judge.standing(session, task.business_id)
    return (
        _paused(session, by, task, now)
        or _unknown(task)
        or _not_due(session, task)
        or _unheard(task)
        or _limited(session, task, now)
        or _in_line(session, task, now)
    )


def _paused(session: Session, by: Actor, task: Task, now: Standing) -> Reason | None:
    """Of several pauses the one that ends last: it says when the task may start."""
    ids = [id_ for id_, target in now.pauses.items() if target.covers(task.user_id, task.task_type)]
    if not ids:
        return None
    held = pauses.of_tasks(session, by, ids).values()
    pause = max(held, key=lambda one: (one.until is None, one.until or one.created_at))
    author = pause.creator.name if pause.creator else "Sluice"
    text = f"Paused by {author}: {pause.reason}" + (f" (one of {len(held)} pauses)" if len(held) > 1 else "")
    return Reason(Kind.PAUSE, text, max(pause.until, task.next_try_at) if pause.until else None, pause)


def _unknown(task: Task) -> Reason | None:
    """Workers import the same modules as this process, as far as it can know."""
    if any(one.name == task.task_type for one in task_types.all_types()):
        return None
    return Reason(Kind.UNKNOWN_TYPE, f"No worker knows the task type {task.task_type}")


def _not_due(session: Session, task: Task) -> Reason | None:
    now = session.scalar(select(clock()))
    if now is None or task.next_try_at <= now:
        return None
    if task.attempts:
        text = f"Waits for attempt {task.attempts + 1} of {task.max_attempts}"
        return Reason(Kind.RETRY_DELAY, text, task.next_try_at)
    return Reason(Kind.START_TIME, "Waits for its start time", task.next_try_at)


def _unheard(task: Task) -> Reason | None:
    heard = services.queues_heard(queue.connection())
    if heard is None or task.queue in heard:
        return None
    return Reason(Kind.NO_WORKER, f"No worker listens on the queue {task.queue}")


def _limited(session: Session, task: Task, now: Standing) -> Reason | None:
    if task.task_type in limits.open_types(session, task.business_id, task.queue, now):
        return None
    if not limits.open_types(session, task.business_id, task.queue, now):
        return Reason(Kind.LIMIT, "As many tasks run in this business as may run at once")
    return Reason(Kind.LIMIT, "As many tasks of this type run in this business as may run at once")


def _in_line(session: Session, task: Task, now: Standing) -> Reason:
    """What is ready and goes first. With nobody ahead, the next free worker takes it."""
    ready = (
        Task.business_id == task.business_id,
        Task.queue == task.queue,
        Task.stands(State.PENDING),
        Task.next_try_at <= clock(),
    )
    ahead = select(Task.id).where(*ready, _before(task), now.sparing()).limit(_MOST + 1)
    number = session.scalar(select(func.count()).select_from(ahead.subquery())) or 0
    if number > _MOST:
        return Reason(Kind.ORDER, f"More than {_MOST:,} tasks go first")
    text = f"{number:,} task{'' if number == 1 else 's'} {'goes' if number == 1 else 'go'} first"
    return Reason(Kind.ORDER, text if number else "It is the next one", _estimated(session, task, number))


def _before(task: Task) -> ColumnElement[bool]:
    """True of what is claimed before this one."""
    same = Task.priority == task.priority
    return or_(
        Task.priority > task.priority,
        and_(same, Task.next_try_at < task.next_try_at),
        and_(same, Task.next_try_at == task.next_try_at, Task.id < task.id),
    )


def _estimated(session: Session, task: Task, ahead: int) -> datetime | None:
    """When that many are done, at the pace at which attempts of this business ended a moment ago."""
    recent = select(Attempt.business_id, Attempt.ended_at).order_by(Attempt.id.desc()).limit(_RECENT).subquery()
    mine = recent.c.business_id == task.business_id
    number, first, last, now = session.execute(
        select(func.count(), func.min(recent.c.ended_at), func.max(recent.c.ended_at), clock()).where(mine)
    ).one()
    if number < 3 or last is None or last < now - _STILL or last <= first:
        return None
    each: timedelta = (last - first) / (number - 1)
    estimated: datetime = now + each * (ahead + 1)
    return estimated
