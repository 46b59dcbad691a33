"""What the Scheduler does with schedules that are due: tasks, each due time once, whatever restarts or runs twice."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from jobs import payloads, queue, task_types
from jobs.models import Task
from jobs.rhythm import Rhythm
from jobs.schedule_models import Firing, Schedule
from jobs.states import FINAL
from tenants.clock import clock
from tenants.models import Business
from tenants.within import found_by

LATE = timedelta(seconds=30)  # a due time that is later than this was missed
AT_ONCE = 1000  # missed due times that one call makes up
_LOOK_BACK = 100  # due times among which an unfinished task is looked for
_AGAIN_SECONDS = 3600.0  # until an unreadable schedule is tried again


def rhythm_of(schedule: Schedule) -> Rhythm:
    """When a schedule is due."""
    return Rhythm(schedule.cron, schedule.interval_seconds, schedule.time_zone)


def due_soon(session: Session, seconds: float) -> tuple[datetime, dict[int, datetime]]:
    """The database's time, and when each schedule is due that is so by now or within `seconds`."""
    query = select(Schedule.id).join(Business, Business.id == Schedule.business_id)
    query = query.where(_fires(), Schedule.next_at <= clock(seconds))
    try:
        found = {id_: next_at for id_, next_at in session.execute(query.add_columns(Schedule.next_at)) if next_at}
    except (ValueError, TypeError):  # one of them is no time
        found = {id_: _next_at(session, id_) or _now(session) for id_ in session.scalars(query).all()}
    return _now(session), found


def _next_at(session: Session, schedule_id: int) -> datetime | None:
    """When it is due; None if that is no time: SQLite keeps whatever somebody writes there by hand."""
    try:
        return session.scalar(select(Schedule.next_at).where(Schedule.id == schedule_id))
    except (ValueError, TypeError):
        return None


def fire(session: Session, schedule_id: int) -> datetime | None:
    """Make the tasks of a schedule that are due by the database's clock, and answer when it is due next.

    Not due yet: nothing happens. Deleted, disabled, or of an archived business: nothing happens, and None. A due time
    that has its firing already gets no second one.
    """
    schedule = session.scalar(
        select(Schedule)
        .join(Business, Business.id == Schedule.business_id)
        .where(Schedule.id == schedule_id, _fires())
        .with_for_update(of=Schedule)
        .execution_options(populate_existing=True)
    )
    if schedule is None or schedule.next_at is None:
        return None
    now = _now(session)  # after the lock was had
    if schedule.next_at > now:
        return schedule.next_at
    plan = _Plan.of(schedule, now)
    if plan.missed:
        _record(session, schedule, [plan.missed], "missed")
    _fire_each(session, schedule, plan.due)
    schedule.next_at = plan.next_at
    session.flush()
    return schedule.next_at


def fire_now(session: Session, schedule: Schedule, user_id: int) -> int | None:
    """One firing at this moment, whatever the rhythm says; the task's id, or None if it fires at this very moment."""
    made = _make_tasks(session, schedule, [_now(session)], user_id)
    return made[0] if made else None


def set_aside(session: Session, schedule_id: int, error: str) -> datetime | None:
    """Show the error of a schedule whose row cannot even be read; the answer is when to try again, in an hour."""
    standing = (Schedule.id == schedule_id, Schedule.enabled, Schedule.next_at <= clock())
    failed = select(
        Schedule.business_id,
        Schedule.id,
        Schedule.next_at if _next_at(session, schedule_id) else clock(),
        clock(),
        literal("failed"),
        literal(payloads.storable(error)),
    ).where(*standing, Schedule.next_at.not_in(select(Firing.due_at).where(Firing.schedule_id == schedule_id)))
    names = ["business_id", "schedule_id", "due_at", "fired_at", "outcome", "error"]
    session.execute(insert(Firing).from_select(names, failed, include_defaults=False))
    return session.scalar(
        update(Schedule)
        .where(*standing)
        .values(error=payloads.storable(error), next_at=clock(_AGAIN_SECONDS))
        .returning(Schedule.next_at)
        .execution_options(synchronize_session=False)
    )


def forget(session: Session, days: float) -> int:
    """Remove up to a thousand firings that are older than so many days, and answer how many they were.

    The last one of a schedule stays, since lists show it, and so does one whose task is not over.
    """
    later = aliased(Firing)
    unfinished = exists().where(Task.id == Firing.task_id, Task.state.not_in(sorted(FINAL)))
    followed = exists().where(later.schedule_id == Firing.schedule_id, later.due_at > Firing.due_at)
    old = select(Firing.id).where(Firing.fired_at < clock(-days * 86_400), followed, ~unfinished).limit(AT_ONCE)
    gone = session.scalars(delete(Firing).where(Firing.id.in_(old)).returning(Firing.id)).all()
    return len(gone)


@dataclass(frozen=True)
class _Plan:
    """The due times that get a firing now, the missed one to write down, and the first due time after them."""

    next_at: datetime
    due: Sequence[datetime] = field(default=())
    missed: datetime | None = None

    @classmethod
    def of(cls, schedule: Schedule, now: datetime) -> _Plan:
        """What the schedule's policy makes of all due times until `now`."""
        rhythm, due = rhythm_of(schedule), schedule.next_at
        assert due is not None  # noqa: S101 - the caller found it due
        if schedule.catch_up == "all":
            every = list(itertools.islice(rhythm.series(due, now), AT_ONCE))
            return cls(rhythm.after(every[-1]), every)
        last, next_at = rhythm.latest(due, now), rhythm.upcoming(due, now)
        if schedule.catch_up == "none" and due < now - LATE:
            in_time = [last] if last >= now - LATE else []
            return cls(next_at, in_time, missed=rhythm.latest(due, now - LATE))
        return cls(next_at, [last])


def _fires() -> ColumnElement[bool]:
    """True of a schedule that makes tasks when it is due."""
    return and_(Schedule.enabled, Schedule.next_at.is_not(None), Business.archived_at.is_(None))


def _now(session: Session) -> datetime:
    return session.execute(select(clock())).scalar_one()


def _fire_each(session: Session, schedule: Schedule, due: Sequence[datetime]) -> None:
    """A task for each due time, or the reason for none."""
    if not due:
        return
    error = _misfit(schedule)
    if error:
        schedule.error = error
        _record(session, schedule, due, "failed", error=error)
        return
    if schedule.overlap == "queue":
        _make_tasks(session, schedule, due)
        return
    for one in due:
        in_the_way = _unfinished(session, schedule)
        if in_the_way:
            _record(session, schedule, [one], "skipped", task_id=in_the_way)
        else:
            _make_tasks(session, schedule, [one])


def _make_tasks(
    session: Session, schedule: Schedule, due: Sequence[datetime], user_id: int | None = None
) -> Sequence[int]:
    """One task for each of these due times that has no firing yet; their ids. Nobody's is the Scheduler's."""
    new = _record(session, schedule, due, "fired")
    if not new:
        return []
    type_ = task_types.get(schedule.task_type)
    task = {
        "business_id": schedule.business_id,
        "user_id": user_id,
        "task_type": type_.name,
        "queue": type_.queue,
        "title": schedule.title,
        "payload": schedule.payload,
        "priority": schedule.priority,
        "max_attempts": type_.max_attempts,
    }
    made = sorted(session.scalars(insert(Task).returning(Task.id), [task] * len(new)))
    session.execute(update(Firing), [{"id": id_, "task_id": task_id} for id_, task_id in zip(new, made, strict=True)])
    schedule.error = None
    queue.wake(session, schedule.business_id, type_.queue)
    return made


def _record(session: Session, schedule: Schedule, due: Collection[datetime], outcome: str, **also: Any) -> list[int]:
    """Write firings, and answer the ids of the new ones: the unique (schedule, due time) judges who came first."""
    about = {"business_id": schedule.business_id, "schedule_id": schedule.id, "outcome": outcome, **also}
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    new = dialect.insert(Firing).on_conflict_do_nothing(index_elements=["schedule_id", "due_at"])
    rows = session.execute(new.returning(Firing.due_at, Firing.id), [{**about, "due_at": one} for one in due])
    return [id_ for _, id_ in sorted(tuple(one) for one in rows)]


def _unfinished(session: Session, schedule: Schedule) -> int | None:
    """The id of a task that this schedule made and that is not over: of its last due times, which tell of skips, too.

    Not just of the very last one: that may be a "run now", which ends while an earlier task still runs.
    """
    last = (
        select(Firing.task_id)
        .where(Firing.schedule_id == schedule.id)
        .order_by(Firing.due_at.desc())
        .limit(_LOOK_BACK)
        .subquery()
    )
    unfinished = Task.state.not_in([one.value for one in sorted(FINAL)])
    return session.scalar(
        select(Task.id).where(found_by(Task.id, select(last.c.task_id)), unfinished).order_by(Task.id)
    )


def _misfit(schedule: Schedule) -> str | None:
    """Why the schedule can make no task: its type is gone, or no longer takes the payload."""
    try:
        payloads.check(task_types.get(schedule.task_type), schedule.payload)
    except Exception as error:  # noqa: BLE001 - validators and annotations are the author's code
        return payloads.storable(str(error) or type(error).__name__)
    return None
