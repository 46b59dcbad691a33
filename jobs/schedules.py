"""Schedules as people handle them: create, edit, enable, disable, delete, run now.

`jobs.schedule_filters` lists them, `jobs.firings` fires them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from jobs import checks, payloads, redaction, submitting, task_types
from jobs import firings as engine
from jobs.rhythm import Rhythm
from jobs.schedule_models import Firing, Schedule
from tenants import audit
from tenants.clock import clock
from tenants.database import any_id
from tenants.errors import Conflict, Invalid, NotFound
from tenants.permissions import Actor, May

CATCH_UP = ("one", "none", "all")
OVERLAP = ("skip", "queue")
_MAX_PRIORITY = 2**31 - 1


class FiresNow(Conflict):
    """This schedule fires at this very moment."""


@dataclass(frozen=True)
class Draft:
    """What a person says of a schedule: all of it, as a form shows all of it.

    Either `cron`, of five fields, or `interval_seconds`. `catch_up`: what becomes of due times that were missed by more
    than 30 s: `one` firing for the latest, `none`, or `all`. `overlap`: what becomes of a due time while the last task
    is unfinished: `skip` or `queue`.
    """

    title: str
    task_type: str
    payload: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    cron: str | None = None
    interval_seconds: int | None = None
    time_zone: str = "UTC"
    catch_up: str = "one"
    overlap: str = "skip"
    enabled: bool = True

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        """The draft that an edit of this schedule begins with."""
        return cls(**{name: getattr(schedule, name) for name in cls.__dataclass_fields__})

    @property
    def rhythm(self) -> Rhythm:
        """When it is due."""
        cron = " ".join(self.cron.split()) if isinstance(self.cron, str) else self.cron
        return Rhythm(cron or None, self.interval_seconds, self.time_zone)

    def columns(self) -> dict[str, Any]:
        """What it sets in the row."""
        return {**vars(self), **vars(self.rhythm), "title": self.title.strip()}

    def check(self, now: datetime) -> None:
        """One clear error, with its field, for the first thing that is wrong."""
        if type(self.title) is not str or not self.title.strip():
            raise Invalid("A schedule needs a title.", field="title")
        if len(self.title.strip()) > checks.MAX_TITLE or self.title != payloads.storable(self.title):
            raise Invalid(f"A title has {checks.MAX_TITLE} characters at most.", field="title")
        payloads.check(task_types.get(self.task_type), self.payload)
        if type(self.priority) is not int or abs(self.priority) > _MAX_PRIORITY:
            raise Invalid("A priority is a whole number.", field="priority")
        self.rhythm.check(now)
        if type(self.enabled) is not bool:
            raise Invalid("A schedule is enabled or not.", field="enabled")
        if self.catch_up not in CATCH_UP:
            raise Invalid("Missed firings are made up by one, none or all.", field="catch_up")
        if self.overlap not in OVERLAP:
            raise Invalid("Firings that overlap are skipped or queued.", field="overlap")
        if self.catch_up == "all" and self.overlap == "skip":
            raise Invalid("To make up all missed firings, those that overlap must be queued.", field="overlap")


def create(session: Session, by: Actor, draft: Draft) -> Schedule:
    """A new schedule, first due after now. An Invalid names the field that is wrong; then there is no row."""
    by.require(May.SCHEDULE)
    now = _now(session)
    draft.check(now)
    first = draft.rhythm.after(now) if draft.enabled else None
    new = Schedule(business_id=by.business.id, created_by=by.user.id, next_at=first, **draft.columns())
    session.add(new)
    session.flush()
    audit.record(session, by, "create", _subject(new), after=_as_changes(new))
    return new


def edit(session: Session, by: Actor, schedule_id: int, to: Draft) -> Schedule:
    """Change a schedule. It stays due when it was, unless its rhythm changes or this enables it.

    The mask of a secret means as it was, while the task type stays.
    """
    schedule = _get_locked(session, by, schedule_id)
    now = _now(session)
    if to.task_type == schedule.task_type:
        type_ = task_types.get(to.task_type)
        to = replace(to, payload=redaction.unmasked(type_, to.payload, schedule.payload))
    to.check(now)
    before = _as_changes(schedule)
    due = schedule.next_at if engine.rhythm_of(schedule) == to.rhythm else None
    for name, value in to.columns().items():
        setattr(schedule, name, value)
    schedule.next_at = (due or to.rhythm.after(now)) if to.enabled else None
    schedule.error = None
    session.flush()
    audit.record(session, by, "edit", _subject(schedule), before=before, after=_as_changes(schedule))
    return schedule


def enable(session: Session, by: Actor, schedule_id: int) -> Schedule:
    """Let a schedule fire, first after now: what was due meanwhile counts as disabled, not as missed.

    Enabling it again changes nothing. One that fits its task type no longer is Invalid, and stays disabled.
    """
    schedule = _get_locked(session, by, schedule_id)
    return schedule if schedule.enabled else _switch(session, by, schedule, "enable")


def disable(session: Session, by: Actor, schedule_id: int) -> Schedule:
    """Keep a schedule from firing; tasks that it made stay. Disabling it again changes nothing."""
    schedule = _get_locked(session, by, schedule_id)
    return _switch(session, by, schedule, "disable") if schedule.enabled else schedule


def delete(session: Session, by: Actor, schedule_id: int) -> None:
    """Remove a schedule and the record of its firings; tasks that it made stay."""
    schedule = _get_locked(session, by, schedule_id)
    audit.record(session, by, "delete", _subject(schedule), before=_as_changes(schedule))
    session.execute(sql_delete(Schedule).where(Schedule.id == schedule.id))


def run_now(session: Session, by: Actor, schedule_id: int) -> int:
    """Make a task of the schedule at once, in the person's name, and answer its id. When it is due next stays.

    A disabled schedule runs, too, and so does one whose last task is unfinished.
    """
    schedule = _get_locked(session, by, schedule_id)
    payloads.check(task_types.get(schedule.task_type), schedule.payload)
    if by.business.archived_at:
        raise submitting.UnknownBusiness(field="business")
    task_id = engine.fire_now(session, schedule, by.user.id)
    if task_id is None:
        raise FiresNow
    audit.record(session, by, "run", _subject(schedule), after={"task": task_id})
    return task_id


def get(session: Session, by: Actor, schedule_id: int) -> Schedule:
    """A schedule of the business; else NotFound."""
    by.require(May.SEE_ALL)
    return _get(session, by, schedule_id)


def next_firings(session: Session, by: Actor, schedule_id: int, count: int = 5) -> list[datetime]:
    """When a schedule is due next. Nothing when it is disabled, or in a zone that this machine does not know."""
    schedule = get(session, by, schedule_id)
    if schedule.next_at is None:
        return []
    rhythm = engine.rhythm_of(schedule)
    try:
        following = rhythm.series(rhythm.upcoming(schedule.next_at, _now(session)))
        return list(itertools.islice(following, count))
    except (Invalid, LookupError, ValueError):
        return []


def preview(session: Session, by: Actor, draft: Draft, count: int = 5) -> list[datetime]:
    """When a schedule like this would be due. Invalid like `create`; no row either way."""
    by.require(May.SCHEDULE)
    now = _now(session)
    draft.check(now)
    return list(itertools.islice(draft.rhythm.series(draft.rhythm.after(now)), count))


def firings(session: Session, by: Actor, schedule_id: int, limit: int = 50) -> Sequence[Firing]:
    """What became of the last due times of a schedule, newest first, each with its task."""
    schedule = get(session, by, schedule_id)
    query = select(Firing).where(Firing.business_id == by.business.id, Firing.schedule_id == schedule.id)
    query = query.options(joinedload(Firing.task)).order_by(Firing.due_at.desc()).limit(limit)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def _get(session: Session, by: Actor, schedule_id: int, *, locked: bool = False) -> Schedule:
    query = select(Schedule).where(Schedule.business_id == by.business.id, Schedule.id == any_id(schedule_id))
    if locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.scalar(query)
    if found is None:
        raise NotFound
    return found


def _get_locked(session: Session, by: Actor, schedule_id: int) -> Schedule:
    """A schedule that the actor may change, and that does not fire meanwhile."""
    by.require(May.SCHEDULE)
    return _get(session, by, schedule_id, locked=True)


def _switch(session: Session, by: Actor, schedule: Schedule, act: str) -> Schedule:
    before, now, draft = {"enabled": schedule.enabled}, _now(session), Draft.of(schedule)
    if schedule.enabled:
        schedule.enabled, schedule.next_at = False, None
    else:
        draft.check(now)
        schedule.enabled, schedule.next_at, schedule.error = True, draft.rhythm.after(now), None
    session.flush()
    audit.record(session, by, act, _subject(schedule), before=before, after={"enabled": schedule.enabled})
    return schedule


def _now(session: Session) -> datetime:
    return session.execute(select(clock())).scalar_one()


def _subject(schedule: Schedule) -> str:
    return f"schedule:{schedule.id}"


def _as_changes(schedule: Schedule) -> dict[str, Any]:
    """What the audit log keeps of a schedule. Not its payload's values: they may be secret."""
    kept = vars(Draft.of(schedule))
    return {name: value for name, value in kept.items() if name != "payload"} | {
        "payload_keys": sorted(schedule.payload)
    }
