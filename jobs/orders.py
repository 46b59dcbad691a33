"""The orders of lists: for each sort the segments that follow each other, and the indexes that have them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.orm import Session

from jobs import conditions, task_types
from jobs.conditions import SCHEDULER, Condition
from jobs.filters import View
from jobs.judge import Standing
from jobs.models import Task
from jobs.states import FINAL, WAITING, State
from jobs.walks import Clauses, Order, Place, Segment, Strand
from tenants.clock import UtcDateTime
from tenants.models import User

RANKS = {
    state: rank
    for rank, state in enumerate(
        (State.RUNNING, State.CANCELLING, State.PENDING, State.PAUSED, State.FAILED, State.CANCELED, State.COMPLETED)
    )
}
UNTITLED = "untitled"  # what Active tasks call a task without a title
NEVER = datetime(9000, 1, 1, tzinfo=UTC)  # when what waits was started
SORTABLE = 2_000  # tasks of one type or user that are sorted by id; more of them are met often enough on a walk
_LIVE = (State.RUNNING, State.CANCELLING)
_LISTED: dict[str, ColumnElement[Any]] = {  # as partial indexes have it
    "priority": literal_column("tasks.priority <> 0"),
    "attempts": literal_column("tasks.attempts > 0"),
}
# Clauses that lists are made of: built once, since statements are kept by them.
_BUSINESS = bindparam("business", type_=Integer)
HERE = Task.business_id == _BUSINESS
_LEASED = (Task.lease_until.is_not(None), Task.business_id + 0 == _BUSINESS, Task.is_in(State.RUNNING))
_BY_SYSTEM, _BY_USER = Task.user_id.is_(None), Task.user_id.is_not(None)
_TITLED, _NOT_TITLED = Task.title.is_not(None), Task.title.is_(None)
_BEFORE, _SAME, _AFTER = Task.sort_title < UNTITLED, Task.sort_title == UNTITLED, Task.sort_title > UNTITLED
_SIGNS = {one.key: (one < 0, one == 0, one > 0) for one in (Task.priority, Task.attempts)}


@dataclass(frozen=True)
class Scope:
    """What a list is of: a business, states, the pauses that stand there, and a single user or type, if it is one.

    `values` are of the parameters of all that is asked. Scopes that differ by values only are equal: they have the same
    statements.
    """

    business_id: int = field(compare=False)
    view: View
    states: frozenset[State]
    standing: Standing
    alone: Condition | None = None
    days: Clauses = ()
    values: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """What every statement about it is executed with."""
        return {"business": self.business_id, **self.values}

    @property
    def in_states(self) -> Clauses:
        """The states as a condition, for indexes that do not know them; none if it is all of them."""
        return () if self.states == frozenset(State) else (_in_states(self.states, self.standing),)

    def of(self, *states: State) -> Scope:
        """The same with these states only."""
        return replace(self, states=self.states & frozenset(states))


@functools.lru_cache(maxsize=256)
def _in_states(states: frozenset[State], standing: Standing) -> ColumnElement[bool]:
    shown = [conditions.in_state(one, standing) for one in sorted(states & WAITING)]
    if len(shown) == 2:
        shown = [Task.is_in(*WAITING)]
    others = states - WAITING
    return conditions.either(*shown, *([Task.is_in(*others)] if others else []))


def order(session: Session, scope: Scope, sort: str) -> Order:
    """The order by this sort; `jobs.people` has the one by user."""
    segments = list(_segments(session, scope, sort))

    def from_(start: Place | None, descending: bool) -> Iterator[Segment]:
        for one in reversed(segments) if descending else segments:
            passed = start and one.column is None and (one.key > start[0] if descending else one.key < start[0])
            if one.strands and not passed:
                yield one

    return from_


def _segments(session: Session, scope: Scope, sort: str) -> Iterator[Segment]:
    match sort:
        case "id":
            yield Segment(by_id(scope), column=Task.id)
        case "status":
            yield from (Segment(by_id(scope.of(state)), key=rank) for state, rank in RANKS.items())
        case "type":
            yield from _by_type(session, scope)
        case "title":
            yield from _by_title(scope)
        case "origin":
            yield Segment(_with(by_id(scope), _BY_SYSTEM), key=0)
            yield Segment(_with(by_id(scope), _BY_USER), key=1)
        case "started":
            yield Segment(_live(scope), column=Task.started_at)
            yield Segment(_waiting(scope), key=NEVER)
        case "attempts" | "priority":
            yield from _by_number(scope, sort)
        case _:
            yield Segment(by_created(scope), column=Task.created_at)


def by_id(scope: Scope) -> Sequence[Strand]:
    """All of it by id."""
    if scope.states == frozenset(State):
        return [Strand((HERE,))]
    # The state first: SQLite takes what it reads first of two conditions for a column, and IN is in no order by id.
    finals = [Strand((HERE, Task.is_in(one), Task.is_in(*FINAL))) for one in sorted(scope.states & FINAL)]
    return [*_waiting(scope), *_live(scope), *finals]


def _waiting(scope: Scope, *where: ColumnElement[bool]) -> list[Strand]:
    waiting = scope.states & WAITING
    if not waiting:
        return []
    only = () if len(waiting) == 2 else (conditions.held(State.PAUSED in waiting, scope.standing),)
    return [Strand((HERE, Task.waits(), *where), only)]


def _live(scope: Scope) -> list[Strand]:
    """What runs is found by its lease, in all businesses: never many."""
    strands = []
    if State.RUNNING in scope.states:
        strands.append(Strand(_LEASED, few=True))
    if State.CANCELLING in scope.states:
        strands.append(Strand((HERE, Task.is_in(State.CANCELLING)), few=True))
    return strands


def by_created(scope: Scope) -> Sequence[Strand]:
    """All of it by the time of its making."""
    if scope.alone:
        first = None if scope.alone.users is None else Task.user_id
        return [Strand((HERE, scope.alone.clause, *scope.days), scope.in_states, first=first)]
    finals = scope.states & FINAL
    only = () if finals == FINAL else (Task.is_in(*finals),)
    final = [Strand((HERE, Task.is_in(*FINAL), *scope.days), only)] if finals else []
    return [*_waiting(scope, *scope.days), *_live(scope), *final]


def _by_type(session: Session, scope: Scope) -> Iterator[Segment]:
    """By title; Active tasks by the name, which is what they show."""
    keys: dict[str, list[str]] = {}
    for name in conditions.types_in(session, scope.business_id):
        keys.setdefault(name if scope.view is View.ACTIVE else task_types.title_of(name).lower(), []).append(name)
    for key in sorted(keys):
        yield Segment([one for name in keys[key] for one in _of_type(session, scope, name)], key=key)


def _of_type(session: Session, scope: Scope, name: str) -> Sequence[Strand]:
    is_it = _is_type(name)
    if scope.view is View.ACTIVE:
        return [*_waiting(scope, is_it), *_with(_live(scope), is_it)]
    count = session.connection().scalar(_size_of(is_it, SORTABLE), scope.parameters) or 0
    if count > SORTABLE:  # met on the way through all
        return _with(by_id(scope), is_it)
    return [Strand((HERE, is_it), scope.in_states, few=True)] if count else []


@functools.lru_cache(maxsize=256)
def _is_type(name: str) -> ColumnElement[bool]:
    return Task.task_type == name


@functools.lru_cache(maxsize=256)
def _size_of(is_it: ColumnElement[bool], most: int) -> Select[tuple[int]]:
    entries = select(Task.id).where(HERE, is_it).limit(most + 1).subquery()
    return select(func.count()).select_from(entries)


def _by_title(scope: Scope) -> Iterator[Segment]:
    """The task's title; without one, Active tasks show it as Untitled, the history by its type's title."""
    if scope.view is not View.ACTIVE:
        yield Segment([Strand((HERE,), scope.in_states)], column=Task.sort_title)
        return
    untitled = [*_waiting(scope, _NOT_TITLED), *_with(_live(scope), _NOT_TITLED)]
    titled = [[*_waiting(scope, _TITLED, one), *_with(_live(scope), _TITLED, one)] for one in (_BEFORE, _SAME, _AFTER)]
    yield Segment(titled[0], column=Task.sort_title)
    yield Segment([*titled[1], *untitled], key=UNTITLED)
    yield Segment(titled[2], column=Task.sort_title)


def _by_number(scope: Scope, sort: str) -> Iterator[Segment]:
    """Nearly all have 0, by id; the others have an index of their own."""
    column, listed, (below, none, above) = getattr(Task, sort), _LISTED[sort], _SIGNS[sort]
    yield Segment([*_waiting(scope, listed, below), *_with(_live(scope), below)], column=column)
    yield Segment(_with([*_waiting(scope), *_live(scope)], none), key=0)
    yield Segment([*_waiting(scope, listed, above), *_with(_live(scope), above)], column=column)


def _with(strands: Sequence[Strand], *only: ColumnElement[bool]) -> list[Strand]:
    return [replace(one, only=(*one.only, *only)) for one in strands]


def titles() -> tuple[tuple[str, str], ...]:
    """The registered types, and what they are sorted by."""
    return tuple((one.name, one.title.lower()) for one in task_types.all_types())


def sort_key(scope: Scope, sort: str, of_types: tuple[tuple[str, str], ...]) -> ColumnElement[Any]:
    """The same keys as one expression, for what is sorted at once. `of_types` are the `titles`."""
    titled = case((Task.title.is_not(None), Task.sort_title), else_=literal(UNTITLED, String))
    starts = case((Task.is_in(*_LIVE), Task.started_at), else_=null())
    keys: dict[str, ColumnElement[Any]] = {
        "id": Task.id.expression,
        "origin": case((Task.user_id.is_(None), 0), else_=1),
        "title": titled if scope.view is View.ACTIVE else Task.sort_title.expression,
        "started": func.coalesce(starts, literal(NEVER, UtcDateTime()), type_=UtcDateTime),
        "attempts": Task.attempts.expression,
        "priority": Task.priority.expression,
        "user": func.coalesce(User.sort_name, SCHEDULER.lower(), type_=String),
        "type": Task.task_type.expression if scope.view is View.ACTIVE else _title_of_type(dict(of_types)),
        "status": _rank(scope.standing),
    }
    return keys.get(sort, Task.created_at.expression)


def _title_of_type(titles: dict[str, str]) -> ColumnElement[Any]:
    return case(titles, value=Task.task_type, else_=Task.task_type) if titles else Task.task_type.expression


def _rank(standing: Standing) -> ColumnElement[Any]:
    held = case((standing.covering(), State.PAUSED.value), else_=State.PENDING.value)
    shown = case((Task.is_in(*WAITING), held), else_=Task.state)
    return case({state.value: rank for state, rank in RANKS.items()}, value=shown)
