"""The lists of tasks: a page of rows in order, how many there are, and all of them in chunks."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, String, and_, case, func, literal, null, or_, select, tuple_
from sqlalchemy.orm import Session, contains_eager

from jobs import conditions, judge, task_types, tasks
from jobs.conditions import SCHEDULER
from jobs.filters import TaskFilter, View
from jobs.models import Task
from jobs.payloads import storable
from jobs.states import FINAL, WAITING, State
from tenants.clock import UtcDateTime
from tenants.models import User
from tenants.permissions import Actor, May

COUNT_LIMIT = 10_000
_NEVER = datetime(9000, 1, 1, tzinfo=UTC)  # when what waits was started
_TOO_BIG = 2**63  # for any integer of a database
_SHOWN = [State.RUNNING, State.CANCELLING, State.PENDING, State.PAUSED, State.FAILED, State.CANCELED, State.COMPLETED]


@dataclass(frozen=True)
class Row:
    """A task in a list, with the state to show and the pause that holds it."""

    task: Task
    user_name: str
    type_title: str
    state: State
    pause_id: int | None

    @property
    def waits_until(self) -> datetime | None:
        """When a pending task may start, if that is ahead."""
        at = self.task.next_try_at
        return at if self.state is State.PENDING and at > datetime.now(UTC) else None

    @property
    def is_late(self) -> bool:
        """Whether it has been running for longer than its type's tasks should, by this machine's clock."""
        began = self.task.started_at if self.state in (State.RUNNING, State.CANCELLING) else None
        return began is not None and datetime.now(UTC) - began > task_types.late_after(self.task.task_type)


@dataclass(frozen=True)
class Page:
    """A page of tasks. `total` is capped: `is_capped` says that there are more. Cursors are None where it ends.

    `looked_back_to` is set when the search stopped before the page was full; `older` goes on from there.
    """

    rows: Sequence[Row]
    total: int
    is_capped: bool
    newer: str | None
    older: str | None
    looked_back_to: datetime | None = None

    def pause_ids(self) -> set[int]:
        """The pauses that hold tasks of this page."""
        return {row.pause_id for row in self.rows if row.pause_id}


@dataclass(frozen=True)
class Count:
    """How many; with `is_capped` at least so many."""

    number: int
    is_capped: bool = False


class Tab(enum.StrEnum):
    """The three lists of a user's own background tasks."""

    PENDING = "pending"
    FAILED = "failed"
    FINISHED = "finished"

    @property
    def states(self) -> frozenset[State]:
        """The states it holds: what is not over, what went wrong or was canceled, and what was completed."""
        match self:
            case Tab.PENDING:
                return frozenset(State) - FINAL
            case Tab.FAILED:
                return FINAL - {State.COMPLETED}
            case _:
                return frozenset({State.COMPLETED})


def search(session: Session, by: Actor, wanted: TaskFilter) -> Page:
    """The tasks of the business as wanted. Members get their own."""
    standing = judge.standing(session, by.business.id)
    return _page(session, _wanted(session, by, wanted, standing), wanted, standing)


def counts(session: Session, by: Actor, wanted: TaskFilter) -> dict[State | None, Count]:
    """How many tasks there are in each state of the view under the other filters, and in all (None)."""
    standing = judge.standing(session, by.business.id)
    where = _wanted(session, by, _without_state(wanted), standing)
    each: dict[State | None, Count] = {
        state: _counted(session, [*where, conditions.in_state(state, standing)]) for state in wanted.view.states
    }
    return each | {None: _counted(session, where)}


def own(session: Session, by: Actor, tab: Tab, wanted: TaskFilter) -> Page:
    """The actor's own tasks in the business, whatever their role: one tab of Background-Tasks."""
    standing = judge.standing(session, by.business.id)
    return _page(session, _mine(by, tab), wanted, standing)


def count_own(session: Session, by: Actor, tab: Tab, most: int = COUNT_LIMIT) -> Count:
    """How many tasks that tab holds, up to `most`."""
    return _counted(session, _mine(by, tab), most)


def get(session: Session, by: Actor, task_id: int) -> Row:
    """One task that the actor may see, as a list shows it; else NotFound."""
    return _row(tasks.get(session, by, task_id), judge.standing(session, by.business.id))


def rows_of(
    session: Session, by: Actor, wanted: TaskFilter, *, after_id: int, limit: int, last_id: int | None = None
) -> Sequence[Row]:
    """All matching tasks by id up to `last_id`, a chunk at a time: for exports and for acts on many."""
    standing = judge.standing(session, by.business.id)
    where = [*_wanted(session, by, wanted, standing), Task.id > after_id]
    if last_id is not None:
        where.append(Task.id <= last_id)
    query = select(Task).outerjoin(Task.user).options(contains_eager(Task.user)).where(*where)
    return [_row(task, standing) for task in session.scalars(query.order_by(Task.id).limit(limit))]


def last_id(session: Session, by: Actor) -> int:
    """The newest task of the business: what is submitted from now on has a higher id."""
    by.require(May.ENTER)
    return session.scalar(select(func.max(Task.id)).where(Task.business_id == by.business.id)) or 0


def _without_state(wanted: TaskFilter) -> TaskFilter:
    return replace(wanted, state=None)


def _wanted(session: Session, by: Actor, wanted: TaskFilter, standing: judge.Standing) -> list[ColumnElement[bool]]:
    all_ = [*conditions.visible(by), *conditions.matching(session, wanted, standing)]
    of_view = [] if wanted.view is View.ALL else [Task.is_in(*wanted.view.states)]
    return [Task.business_id == by.business.id, Task.is_there(), *of_view, *conditions.all_of(all_)]


def _mine(by: Actor, tab: Tab) -> list[ColumnElement[bool]]:
    """What was deleted while it waited stands where it will be: with what was canceled."""
    by.require(May.ENTER)
    is_deleted = Task.undo_until.is_not(None)
    where: ColumnElement[bool] = Task.is_in(*tab.states)
    if tab is Tab.PENDING:
        where = and_(where, ~is_deleted)
    elif tab is Tab.FAILED:
        where = or_(where, and_(Task.state == State.CANCELLING, is_deleted))
    return [Task.business_id == by.business.id, Task.user_id == by.user.id, Task.is_there(), where]


def _counted(session: Session, where: Sequence[ColumnElement[bool]], most: int = COUNT_LIMIT) -> Count:
    few = select(Task.id).where(*where).limit(most + 1).subquery()
    found = session.scalar(select(func.count()).select_from(few)) or 0
    return Count(min(found, most), found > most)


def _page(session: Session, where: Sequence[ColumnElement[bool]], wanted: TaskFilter, standing: judge.Standing) -> Page:
    key = _sort_key(wanted, standing)
    cursor = _decode(wanted.after or wanted.before, key)
    backwards = bool(wanted.before and not wanted.after and cursor)
    descending = wanted.descending is not backwards
    query = select(Task, key.label("key")).outerjoin(Task.user).options(contains_eager(Task.user)).where(*where)
    if cursor:
        here = tuple_(key, Task.id)
        there = tuple_(literal(cursor[0], key.type), literal(cursor[1]))
        query = query.where(here < there if descending else here > there)
    order = (key.desc(), Task.id.desc()) if descending else (key.asc(), Task.id.asc())
    found = session.execute(query.order_by(*order).limit(wanted.size + 1)).all()
    more, found = len(found) > wanted.size, found[: wanted.size]
    if backwards:
        found = found[::-1]
    total = _counted(session, where)
    return Page(
        rows=[_row(one.Task, standing) for one in found],
        total=total.number,
        is_capped=total.is_capped,
        newer=_encode(found[0]) if found and (more if backwards else bool(cursor)) else None,
        older=_encode(found[-1]) if found and (bool(cursor) if backwards else more) else None,
    )


def _sort_key(wanted: TaskFilter, standing: judge.Standing) -> ColumnElement[Any]:
    titled = func.coalesce(case((Task.title.is_not(None), Task.sort_title)), "untitled", type_=String)
    starts = case((Task.is_in(State.RUNNING, State.CANCELLING), Task.started_at), else_=null())
    keys: dict[str, ColumnElement[Any]] = {
        "id": Task.id.expression,
        "origin": case((Task.user_id.is_(None), 0), else_=1),
        "title": titled if wanted.view is View.ACTIVE else Task.sort_title.expression,
        "started": func.coalesce(starts, literal(_NEVER, UtcDateTime()), type_=UtcDateTime),
        "attempts": Task.attempts.expression,
        "priority": Task.priority.expression,
        "user": func.coalesce(User.sort_name, SCHEDULER.lower(), type_=String),
        "type": _by_type(wanted),
        "status": _by_state(standing),
    }
    return keys.get(wanted.sort, Task.created_at.expression)


def _by_type(wanted: TaskFilter) -> ColumnElement[Any]:
    titles = {one.name: one.title.lower() for one in task_types.all_types()}
    if wanted.view is View.ACTIVE or not titles:
        return Task.task_type.expression
    return case(titles, value=Task.task_type, else_=func.lower(Task.task_type))


def _by_state(standing: judge.Standing) -> ColumnElement[Any]:
    waits = Task.is_in(*WAITING)
    held = case((standing.covering(), State.PAUSED.value), else_=State.PENDING.value)
    return case({state.value: place for place, state in enumerate(_SHOWN)}, value=case((waits, held), else_=Task.state))


def _row(task: Task, standing: judge.Standing) -> Row:
    state = State(task.state)
    held_by = standing.over(task.user_id, task.task_type) if state in WAITING else None
    if state in WAITING:
        state = State.PAUSED if held_by else State.PENDING
    name = task.user.name if task.user else SCHEDULER
    return Row(task, name, task_types.title_of(task.task_type), state, held_by)


def _encode(row: Any) -> str:
    key = row.key.isoformat() if isinstance(row.key, datetime) else row.key
    return base64.urlsafe_b64encode(json.dumps([key, row.Task.id]).encode()).decode().rstrip("=")


def _decode(cursor: str, key: ColumnElement[Any]) -> tuple[Any, int] | None:
    """The place of a cursor in the order of `key`; None if it is none, since somebody may have typed it."""
    try:
        place, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(key.type, UtcDateTime):
            place = datetime.fromisoformat(place)
    except (ValueError, TypeError, RecursionError):
        return None
    return (place, id_) if _is_place(place, key) and type(id_) is int and abs(id_) < _TOO_BIG else None


def _is_place(place: object, key: ColumnElement[Any]) -> bool:
    match place:
        case datetime():
            return place.tzinfo is not None and 1 < place.year < 9999
        case int():
            return isinstance(key.type, Integer) and abs(place) < (
                _TOO_BIG if isinstance(key.type, BigInteger) else 2**31
            )
        case str():
            return isinstance(key.type, String) and place == storable(place)
    return False
