"""The history of a task: everything that happened to it, put in order from its row, attempts, entries and pauses."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from jobs import judge, tasks
from jobs.conditions import SCHEDULER
from jobs.models import Attempt, Entry, Pause, Task
from jobs.states import FINAL, WAITING, State
from tenants.clock import clock
from tenants.models import User
from tenants.permissions import Actor

SLUICE = "Sluice"  # who pauses without a user
_MOST = 500  # events, and pauses: more of them than anybody reads
_NO_WAIT = timedelta(seconds=1)  # nobody asked for a start time that is so near
_TICK = timedelta(microseconds=1)


class Kind(enum.StrEnum):
    """What a moment is about."""

    SUBMITTED = "submitted"
    STARTED = "started"
    STEP = "step"
    LOG = "log"
    STOPPED = "stopped"  # the end of an attempt
    WAITING = "waiting"  # for its start time, or for the next attempt
    PAUSED = "paused"
    RESUMED = "resumed"
    EVENT = "event"  # what was done to the task: edited, an interrupt asked
    ENDED = "ended"


# Of several moments at the same time the lower one comes first.
_RANK = {kind: place for place, kind in enumerate(Kind)} | {Kind.STEP: 2, Kind.LOG: 2}


@dataclass(frozen=True)
class Moment:
    """One thing that happened. `until` is when a wait or a pause was over, None while it lasts.

    `took` is how long what a start or a stop ended had lasted: the wait before it, or the attempt.
    """

    at: datetime
    kind: Kind
    text: str
    by: str | None = None
    until: datetime | None = None
    attempt: int | None = None
    outcome: str | None = None
    worker: str | None = None
    pid: int | None = None
    error: str | None = None
    traceback: str | None = None
    took: timedelta | None = None

    @property
    def lasted(self) -> timedelta | None:
        """How long a wait or a pause was, once it is over."""
        return self.until - self.at if self.until else None


def timeline(session: Session, by: Actor, task_id: int, limit: int = 500) -> list[Moment]:
    """All that happened to a task that the actor may see, in order, with the last `limit` lines of its log."""
    task = tasks.get(session, by, task_id)
    runs = _runs(task, tasks.attempts(session, by, task_id))
    waits = list(_waits(task, runs))
    moments = [
        Moment(task.created_at, Kind.SUBMITTED, "Submitted", by=task.user.name if task.user else SCHEDULER),
        *_delays(task, runs),
        *_pauses(session, task, waits),
        *_events(session, task),
        *_starts_and_stops(runs, waits),
        *_lines(tasks.entries(session, by, task_id, limit), runs),
        *_end(session, task, runs),
    ]
    return sorted(moments, key=lambda one: (one.at, _RANK[one.kind]))  # which keeps lines of one time in their order


@dataclass(frozen=True)
class _Run:
    """An attempt and its time; no end while it runs. It begins after the one before it, whatever clocks said."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    worker: str | None
    pid: int | None
    written: Attempt | None


@dataclass(frozen=True)
class _Wait:
    """A time in which the task waited; no end while it does."""

    since: datetime
    until: datetime | None


def _runs(task: Task, written: Sequence[Attempt]) -> list[_Run]:
    runs: list[_Run] = []
    earliest = task.created_at
    for one in written:
        started_at = max(earliest, one.started_at or one.ended_at)
        ended_at = max(started_at, one.ended_at)
        runs.append(_Run(one.number, started_at, ended_at, one.worker, one.pid, one))
        earliest = ended_at + _TICK
    if task.state in (State.RUNNING, State.CANCELLING) and task.started_at and task.attempts > len(runs):
        runs.append(_Run(task.attempts, max(earliest, task.started_at), None, task.worker, task.pid, None))
    return runs


def _waits(task: Task, runs: Sequence[_Run]) -> Iterator[_Wait]:
    since: datetime | None = task.created_at
    for run in runs:
        if since:
            yield _Wait(since, run.started_at)
        since = run.ended_at
    if since and (task.state in WAITING or task.is_deleted):
        yield _Wait(since, None)
    elif since and task.state == State.CANCELED and task.ended_at:
        yield _Wait(since, task.ended_at)


def _delays(task: Task, runs: Sequence[_Run]) -> Iterator[Moment]:
    """What the task waits for by itself. Its row knows the last such time only; an earlier wait ended with a start."""
    ended = [(run, run.ended_at) for run in runs if run.written and run.written.outcome == "retry" and run.ended_at]
    if not ended and task.next_try_at - task.created_at > _NO_WAIT:
        yield Moment(task.created_at, Kind.WAITING, "Waits for its start time", until=task.next_try_at)
    started_at = {run.number: run.started_at for run in runs}
    for run, at in ended:
        number = run.number + 1
        until = task.next_try_at if run is ended[-1][0] else started_at.get(number)
        yield Moment(at, Kind.WAITING, "Waits for the next attempt", until=until, attempt=number)


def _pauses(session: Session, task: Task, waits: Sequence[_Wait]) -> Iterator[Moment]:
    """Each pause that covered the task, for as long as it made it wait."""
    query = (
        select(Pause)
        .where(
            judge.touching(task.business_id),
            or_(Pause.user_id.is_(None), Pause.user_id == task.user_id),
            or_(Pause.task_type.is_(None), Pause.task_type == task.task_type),
            or_(Pause.ended_at.is_(None), Pause.ended_at > task.created_at),
        )
        .options(joinedload(Pause.creator), joinedload(Pause.ender))
        .order_by(Pause.id.desc())
        .limit(_MOST)
    )
    now = session.scalar(select(clock()))
    for pause in session.scalars(query):
        over_at = min((at for at in (pause.ended_at, pause.until) if at), default=None)
        for wait in waits:
            until = min(at for at in (over_at, wait.until, now) if at)
            if max(pause.created_at, wait.since) < until:
                yield from _paused(pause, max(pause.created_at, wait.since), None if until == now else until, over_at)


def _paused(pause: Pause, since: datetime, until: datetime | None, over_at: datetime | None) -> Iterator[Moment]:
    author = pause.creator.name if pause.creator else SLUICE
    yield Moment(since, Kind.PAUSED, f"Paused by {author}: {pause.reason}", by=author, until=until)
    if until and until == over_at:
        ender = pause.ender.name if pause.ender and over_at == pause.ended_at else None
        yield Moment(until, Kind.RESUMED, f"Resumed by {ender}" if ender else "The pause was over", by=ender)


def _events(session: Session, task: Task) -> Iterator[Moment]:
    query = (
        select(Entry)
        .where(Entry.business_id == task.business_id, Entry.task_id == task.id, Entry.kind == "event")
        .order_by(Entry.id.desc())
        .limit(_MOST)
    )
    for entry in reversed(session.scalars(query).all()):
        yield Moment(entry.at, Kind.EVENT, entry.text)


def _starts_and_stops(runs: Sequence[_Run], waits: Sequence[_Wait]) -> Iterator[Moment]:
    waited = {wait.until: wait.until - wait.since for wait in waits if wait.until}
    for run in runs:
        text = f"Attempt {run.number} started"
        yield Moment(
            run.started_at,
            Kind.STARTED,
            text,
            attempt=run.number,
            worker=run.worker,
            pid=run.pid,
            took=waited.get(run.started_at),
        )
        if run.written and run.ended_at:
            yield Moment(
                run.ended_at,
                Kind.STOPPED,
                f"Attempt {run.number}: {run.written.outcome}",
                attempt=run.number,
                outcome=run.written.outcome,
                worker=run.worker,
                pid=run.pid,
                error=run.written.error,
                traceback=run.written.traceback,
                took=run.ended_at - run.started_at,
            )


def _lines(entries: Sequence[Entry], runs: Sequence[_Run]) -> Iterator[Moment]:
    """What the handler said, within its attempt and in the order in which it was said."""
    by_number = {run.number: run for run in runs}
    at: datetime | None = None
    for entry in entries:
        run = by_number.get(entry.attempt)
        at = max(entry.at, run.started_at, at or entry.at) if run else entry.at
        at = min(at, run.ended_at) if run and run.ended_at else at
        kind = Kind.STEP if entry.kind == "step" else Kind.LOG
        yield Moment(at, kind, entry.text, attempt=entry.attempt)


def _end(session: Session, task: Task, runs: Sequence[_Run]) -> Iterator[Moment]:
    if task.state not in FINAL or task.ended_at is None:
        return
    person = session.get(User, task.ended_by) if task.ended_by else None
    last = runs[-1].ended_at if runs else None
    said = task.state.capitalize() + (f" by {person.name}" if person else "")
    text = f"{said}: {task.cause}" if task.cause else said
    yield Moment(max(task.ended_at, last or task.ended_at), Kind.ENDED, text, by=person.name if person else None)
