"""Schedules as people handle them: create, edit, enable, disable, delete, run now, search. `jobs.firings` fires them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session, joinedload

from jobs import firings as engine
from jobs import payloads, task_types, tasks
from jobs.models import Firing, Schedule
from jobs.rhythm import Rhythm
from tenants import audit
from tenants.clock import clock
from tenants.errors import Conflict, Invalid, NotFound
from tenants.permissions import Actor, May

CATCH_UP = ("one", "none", "all")
OVERLAP = ("skip", "queue")
SORTS = ("title", "type", "next", "created")
SIZE = 50
MAX_SEARCH = 100
_MAX_PAGE = 10_000


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
        cron = " ".join(self.cron.split()) if self.cron else None
        return Rhythm(cron or None, self.interval_seconds, self.time_zone)

    def columns(self) -> dict[str, Any]:
        """What it sets in the row."""
        return {**vars(self), **vars(self.rhythm), "title": self.title.strip()}

    def check(self, now: datetime) -> None:
        """One clear error, with its field, for the first thing that is wrong."""
        if not self.title.strip():
            raise Invalid("A schedule needs a title.", field="title")
        wanted = tasks.Changes(self.title.strip(), self.priority, None, self.payload)
        tasks.check(task_types.get(self.task_type), wanted)
        self.rhythm.check(now)
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
    """Change a schedule. It stays due when it was, unless its rhythm changes or this enables it."""
    schedule = _get_locked(session, by, schedule_id)
    now = _now(session)
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
    task_id = engine.fire_now(session, schedule, by.user.email)
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


@dataclass(frozen=True)
class ScheduleFilter:
    """Which schedules, in which order, which page. Unknown values fall back, so any address gives a page."""

    q: str = ""
    sort: str = "title"
    descending: bool = False
    page: int = 1

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read a query string such as `q=report&sort=-next&page=2`."""
        sort, page = args.get("sort", ""), args.get("page", "")
        known = sort.removeprefix("-") in SORTS
        return cls(
            q=payloads.storable(args.get("q", "")).strip()[:MAX_SEARCH],
            sort=sort.removeprefix("-") if known else "title",
            descending=known and sort.startswith("-"),
            page=min(max(int(page), 1), _MAX_PAGE) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
        )

    def args(self, **changes: Any) -> dict[str, str]:
        """The query string of this filter with `changes`. Defaults are left out; any change leads to page one."""
        to = replace(self, **(changes if "page" in changes or not changes else {**changes, "page": 1}))
        sort = f"-{to.sort}" if to.descending else to.sort
        every = {"q": (to.q, ""), "sort": (sort, "title"), "page": (str(to.page), "1")}
        return {name: value for name, (value, default) in every.items() if value != default}

    def order(self) -> list[ColumnElement[Any]]:
        """The order of the rows. Schedules that are not due come last by `next`."""
        titles = {one.name: one.title.lower() for one in task_types.all_types()}
        type_ = case(titles, value=Schedule.task_type, else_=func.lower(Schedule.task_type)) if titles else Schedule.id
        keys: dict[str, ColumnElement[Any]] = {
            "title": func.lower(Schedule.title),
            "type": type_,
            "next": Schedule.next_at.expression,
            "created": Schedule.created_at.expression,
        }
        by_key = [keys[self.sort], Schedule.id.expression]
        ordered = [one.desc() if self.descending else one.asc() for one in by_key]
        return [Schedule.next_at.is_(None), *ordered] if self.sort == "next" else ordered


@dataclass(frozen=True)
class Row:
    """A schedule in a list, with its last firing."""

    schedule: Schedule
    type_title: str
    last: Firing | None


@dataclass(frozen=True)
class Page:
    """A page of schedules, and how many there are on all pages."""

    rows: Sequence[Row]
    total: int
    pages: int


def search(session: Session, by: Actor, wanted: ScheduleFilter) -> Page:
    """The schedules of the business as wanted, found by a part of their title or of their task type."""
    by.require(May.SEE_ALL)
    where = and_(Schedule.business_id == by.business.id, *_matching(wanted.q))
    total = session.scalar(select(func.count()).select_from(Schedule).where(where)) or 0
    newest = select(func.max(Firing.due_at)).where(Firing.schedule_id == Schedule.id).scalar_subquery()
    query = (
        select(Schedule, Firing)
        .outerjoin(Firing, and_(Firing.schedule_id == Schedule.id, Firing.due_at == newest))
        .options(joinedload(Firing.task))
        .where(where)
        .order_by(*wanted.order())
        .limit(SIZE)
        .offset(SIZE * (wanted.page - 1))
    )
    found = session.execute(query.execution_options(populate_existing=True))
    rows = [Row(one, task_types.title_of(one.task_type), last) for one, last in found]
    return Page(rows, total, max(1, -(-total // SIZE)))


def _matching(q: str) -> list[ColumnElement[bool]]:
    if not q:
        return []
    named = [func.lower(name).contains(q.lower(), autoescape=True) for name in (Schedule.title, Schedule.task_type)]
    return [or_(*named, Schedule.task_type.in_([one.name for one in task_types.matching(q)]))]


def _get(session: Session, by: Actor, schedule_id: int, *, locked: bool = False) -> Schedule:
    query = select(Schedule).where(Schedule.business_id == by.business.id, Schedule.id == schedule_id)
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
    before = {"enabled": schedule.enabled}
    schedule.enabled, schedule.next_at = not schedule.enabled, None
    if schedule.enabled:
        now, draft = _now(session), Draft.of(schedule)
        draft.check(now)
        schedule.next_at, schedule.error = draft.rhythm.after(now), None
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
    return {name: value for name, value in kept.items() if name != "payload"} | {"payload_keys": sorted(schedule.payload)}
