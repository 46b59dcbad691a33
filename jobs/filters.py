"""What a list of tasks shows: query string ⇄ TaskFilter ⇄ rows, one keyset page at a time."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from sqlalchemy import ColumnElement, Integer, String, case, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session, contains_eager

from jobs import judge, payloads, task_types, tasks
from jobs.models import Task
from jobs.payloads import storable
from jobs.states import FINAL, WAITING, State
from tenants.clock import UtcDateTime
from tenants.models import User
from tenants.permissions import Actor, May

SIZES = (25, 50, 100)
SORTS = ("created", "user", "type", "status")
COUNT_LIMIT = 10_000
MAX_SEARCH = 100
_TOO_BIG = 2**63  # for any integer of a database
SCHEDULER = "Scheduler"  # the name of tasks without a user
_SHOWN = [State.RUNNING, State.CANCELLING, State.PENDING, State.PAUSED, State.FAILED, State.CANCELED, State.COMPLETED]


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks, in which order, from where on. Unknown values fall back, so any address gives a page."""

    q: str = ""
    state: State | None = None
    sort: str = "created"
    descending: bool = True
    size: int = 50
    after: str = ""
    before: str = ""

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read a query string such as `q=ada&state=failed&sort=-created&size=25`."""
        sort = args.get("sort", "-created")
        name = sort.removeprefix("-")
        size, state = args.get("size", ""), args.get("state", "")
        if name not in SORTS:
            sort = name = "created"
            sort = "-created"
        return cls(
            q=payloads.storable(args.get("q", "")).strip()[:MAX_SEARCH],
            state=State(state) if state in set(State) else None,
            sort=name,
            descending=sort.startswith("-"),
            size=int(size) if size in map(str, SIZES) else 50,
            after=args.get("after", ""),
            before=args.get("before", ""),
        )

    def args(self, **changes: Any) -> dict[str, str]:
        """The query string of this filter with `changes`. Defaults are left out; any change leads to page one."""
        if changes and not changes.keys() & {"after", "before"}:
            changes |= {"after": "", "before": ""}
        to = replace(self, **changes)
        sort = f"-{to.sort}" if to.descending else to.sort
        every = {
            "q": (to.q, ""),
            "state": (to.state or "", ""),
            "sort": (sort, "-created"),
            "size": (str(to.size), "50"),
            "after": (to.after, ""),
            "before": (to.before, ""),
        }
        return {name: value for name, (value, default) in every.items() if value != default}

    @property
    def is_narrowed(self) -> bool:
        """Whether a search or a state leaves tasks out."""
        return bool(self.q or self.state)


@dataclass(frozen=True)
class Row:
    """A task in a list, with the state to show and the pause that holds it."""

    task: Task
    user_name: str
    type_title: str
    state: State
    pause_id: int | None


@dataclass(frozen=True)
class Page:
    """A page of tasks. `total` is capped: `is_capped` says that there are more. Cursors are None where it ends."""

    rows: Sequence[Row]
    total: int
    is_capped: bool
    newer: str | None
    older: str | None

    def pause_ids(self) -> set[int]:
        """The pauses that hold tasks of this page."""
        return {row.pause_id for row in self.rows if row.pause_id}


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
    where = [*_visible(by), *_matching(wanted.q), *_in_state(wanted.state, standing)]
    return _page(session, where, wanted, standing)


def own(session: Session, by: Actor, tab: Tab, wanted: TaskFilter) -> Page:
    """The actor's own tasks in the business, whatever their role: one tab of Background-Tasks."""
    by.require(May.ENTER)
    standing = judge.standing(session, by.business.id)
    mine = [Task.business_id == by.business.id, Task.user_id == by.user.id, Task.state.in_(sorted(tab.states))]
    return _page(session, mine, wanted, standing)


def count_own(session: Session, by: Actor, tab: Tab) -> int:
    """How many tasks that tab holds."""
    by.require(May.ENTER)
    mine = [Task.business_id == by.business.id, Task.user_id == by.user.id, Task.state.in_(sorted(tab.states))]
    return session.scalar(select(func.count()).select_from(_capped(mine).subquery())) or 0


def _page(session: Session, where: Sequence[ColumnElement[bool]], wanted: TaskFilter, standing: judge.Standing) -> Page:
    key = _sort_key(wanted.sort, standing)
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
    total = session.scalar(select(func.count()).select_from(_capped(where).subquery())) or 0
    return Page(
        rows=[_row(one.Task, standing) for one in found],
        total=min(total, COUNT_LIMIT),
        is_capped=total > COUNT_LIMIT,
        newer=_encode(found[0]) if found and (more if backwards else bool(cursor)) else None,
        older=_encode(found[-1]) if found and (bool(cursor) if backwards else more) else None,
    )


def get(session: Session, by: Actor, task_id: int) -> Row:
    """One task that the actor may see, as a list shows it; else NotFound."""
    return _row(tasks.get(session, by, task_id), judge.standing(session, by.business.id))


def rows_of(session: Session, by: Actor, wanted: TaskFilter, *, after_id: int, limit: int) -> Sequence[Row]:
    """All matching tasks by id, a chunk at a time: for exports."""
    standing = judge.standing(session, by.business.id)
    where = [*_visible(by), *_matching(wanted.q), *_in_state(wanted.state, standing), Task.id > after_id]
    query = select(Task).outerjoin(Task.user).options(contains_eager(Task.user)).where(*where)
    return [_row(task, standing) for task in session.scalars(query.order_by(Task.id).limit(limit))]


def _visible(by: Actor) -> list[ColumnElement[bool]]:
    by.require(May.ENTER)
    mine = [Task.business_id == by.business.id]
    return mine if by.may(May.SEE_ALL) else [*mine, Task.user_id == by.user.id]


def _matching(q: str) -> list[ColumnElement[bool]]:
    """A part of the user's name, or of the type's title or name, in any case."""
    if not q:
        return []
    types = [one.name for one in task_types.matching(q)]
    name = func.lower(func.coalesce(User.name, SCHEDULER))
    clauses = [
        name.contains(q.lower(), autoescape=True),
        func.lower(Task.task_type).contains(q.lower(), autoescape=True),
    ]
    return [or_(*clauses, Task.task_type.in_(types))] if types else [or_(*clauses)]


def _in_state(state: State | None, standing: judge.Standing) -> list[ColumnElement[bool]]:
    """The state as pages show it: what waits under a pause is Paused, marked or not."""
    if state is None:
        return []
    if state in WAITING:
        held = standing.covering() if state is State.PAUSED else ~standing.covering()
        return [Task.state.in_(sorted(WAITING)), held]
    return [Task.state == state]


def _sort_key(sort: str, standing: judge.Standing) -> ColumnElement[Any]:
    match sort:
        case "user":
            return func.lower(func.coalesce(User.name, SCHEDULER), type_=String)
        case "type":
            titles = {one.name: one.title.lower() for one in task_types.all_types()}
            return (
                case(titles, value=Task.task_type, else_=func.lower(Task.task_type))
                if titles
                else Task.task_type.expression
            )
        case "status":
            waits = Task.state.in_(sorted(WAITING))
            held = case((standing.covering(), State.PAUSED.value), else_=State.PENDING.value)
            return case(
                {state.value: place for place, state in enumerate(_SHOWN)}, value=case((waits, held), else_=Task.state)
            )
        case _:
            return Task.created_at.expression


def _capped(where: Sequence[ColumnElement[bool]]) -> Any:
    return select(Task.id).outerjoin(Task.user).where(*where).limit(COUNT_LIMIT + 1)


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
            return isinstance(key.type, Integer) and abs(place) < _TOO_BIG
        case str():
            return isinstance(key.type, String) and place == storable(place)
    return False
