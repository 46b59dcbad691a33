"""Counting: how many tasks a list has in each state, up to a limit."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session

from jobs.conditions import Condition
from jobs.models import Task
from jobs.orders import HERE, Scope, by_id
from jobs.recently import Recently
from jobs.states import FINAL, WAITING, State
from jobs.walks import Clauses, Strand

LIMIT = 10_000  # where an index alone answers
JUDGED = 2_000  # entries of what waits that are looked at where a pause may hold them
LOOK = 300  # entries of each state that are looked at where a filter has to be
FULL_SECONDS = 10  # how long a final state is taken for as full as it was

# The business and the state of which there are more than LIMIT: counting that far is most of what a list of a large
# business costs, again every few seconds, and what is over goes away slowly.
_full = Recently()


@dataclass(frozen=True)
class Count:
    """How many; with `is_capped` at least so many."""

    number: int
    is_capped: bool = False

    def __add__(self, other: Count) -> Count:
        number = self.number + other.number
        return Count(min(number, LIMIT), self.is_capped or other.is_capped or number > LIMIT)


@dataclass(frozen=True)
class _Look:
    """Entries to be counted by state: those of the strands for which `only` is true, of so many entries at most.

    `limit` is the name of that parameter. `state` is that of all of them, where it is known. Beyond the limit there is
    nothing in the state `sure`.
    """

    scope: Scope
    strands: Sequence[Strand]
    only: ColumnElement[bool] | None
    limit: str | None
    state: State | None = None
    sure: State | None = None


def count_states(
    session: Session, scope: Scope, asked: Sequence[Condition], few: Sequence[Strand] | None
) -> dict[State | None, Count]:
    """How many of each state of the scope, and of all of them (None), for which all that is asked is true.

    `few` is what holds them all, if it is little (`jobs.gathering`).
    """
    if asked or few is not None:
        return _summed(scope, _counted(session, scope, tuple(one.clause for one in asked), few))
    full = {one for one in scope.states & FINAL if _full.holds(session, (scope.business_id, one))}
    parts = [*_counted(session, replace(scope, states=scope.states - full)), dict.fromkeys(full, Count(LIMIT, True))]
    for state, count in (found for part in parts for found in part.items()):
        if count.is_capped and state in FINAL - full:
            _full.note(session, (scope.business_id, state), FULL_SECONDS)
    return _summed(scope, parts)


def _counted(
    session: Session, scope: Scope, only: Clauses = (), few: Sequence[Strand] | None = None
) -> Iterator[dict[State, Count]]:
    """The numbers by state, in parts."""
    looks, statement = _plan(scope, only, None if few is None else tuple(few))
    limits = {"listed": LIMIT + 1, "judged": JUDGED, "filtered": LOOK}
    return _count(session, looks, statement, scope.parameters | limits)


@functools.lru_cache(maxsize=256)
def _plan(
    scope: Scope, asked: Clauses, few: tuple[Strand, ...] | None
) -> tuple[Sequence[_Look], CompoundSelect[Any] | None]:
    """What to look at, and the statement that does: built once, since that takes longer than the counting."""
    only = and_(*asked) if asked else None
    if few is not None:
        looks = [_Look(scope, few, only, None)]
    elif scope.alone and scope.states == {scope.alone.state} and len(asked) == 1:  # an index has just these
        strand = Strand((HERE, scope.alone.clause), few=True)
        looks = [_Look(scope, [strand], None, "listed", scope.alone.state)]
    else:
        looks = list(_looks(scope, only))
    queries = [_query(place, one, strand) for place, one in enumerate(looks) for strand in one.strands]
    return looks, union_all(*queries) if queries else None


def _summed(scope: Scope, parts: Iterable[Mapping[State, Count]]) -> dict[State | None, Count]:
    """Each state of the scope, and all of them."""
    counted: dict[State, Count] = dict.fromkeys(sorted(scope.states), Count(0))
    for found in parts:
        counted |= {state: counted[state] + count for state, count in found.items()}
    everything: dict[State | None, Count] = {None: sum(counted.values(), Count(0))}
    return everything | dict(counted)


def _looks(scope: Scope, only: ColumnElement[bool] | None) -> Iterator[_Look]:
    """One state at a time, but what waits together: which of it is paused is for the judge to say."""
    waiting, limit = scope.of(*WAITING), "listed" if only is None else "filtered"
    if waiting.states and waiting.standing.pauses:
        yield from _judged(waiting, only)
    elif waiting.states:
        yield _Look(waiting, by_id(waiting), only, limit, State.PENDING)
    for state in sorted(scope.states - WAITING):
        yield _Look(scope.of(state), by_id(scope.of(state)), only, limit, state)


def _judged(waiting: Scope, only: ColumnElement[bool] | None) -> Iterator[_Look]:
    """Marked and unmarked apart, so that a few pending tasks are found beside many paused.

    What is marked is paused, unless a pause has just ended: else so many leave no doubt about the pending ones.
    """
    limit, is_certain = "judged" if only is None else "filtered", not waiting.standing.ended
    unmarked, marked = ([Strand((HERE, Task.stands(one)), few=True)] for one in (State.PENDING, State.PAUSED))
    yield _Look(waiting, unmarked, only, limit)
    if is_certain and only is None:
        yield _Look(waiting, marked, only, "listed", State.PAUSED, sure=State.PENDING)
    else:
        yield _Look(waiting, marked, only, limit, sure=State.PENDING if is_certain else None)


def _count(
    session: Session, looks: Sequence[_Look], statement: CompoundSelect[Any] | None, values: Mapping[str, Any]
) -> Iterator[dict[State, Count]]:
    """What each look finds."""
    rows = () if statement is None else session.connection().execute(statement, values).all()
    for place, look in enumerate(looks):
        mine = [row for row in rows if row.place == place]
        numbers = dict.fromkeys(look.scope.states, 0)
        for row in mine:
            if row.fits and row.shown in numbers:
                numbers[State(row.shown)] += row.number
        is_capped = look.limit is not None and sum(row.number for row in mine) >= values[look.limit]
        yield {
            state: Count(min(number, LIMIT), is_capped and state is not look.sure) for state, number in numbers.items()
        }


def _query(place: int, look: _Look, strand: Strand) -> Select[Any]:
    checks = [*strand.only, *([] if look.only is None else [look.only])]
    known = None if look.state is None else literal(look.state.value, String)
    shown = _shown(look.scope) if known is None else known
    entries = select(shown.label("shown"), and_(true(), *checks).label("fits")).select_from(Task).where(*strand.where)
    if look.limit is not None:
        # In order, or PostgreSQL may read the table, and not stop for long.
        entries = (entries if strand.few else entries.order_by(Task.id)).limit(bindparam(look.limit, type_=Integer))
    some = entries.subquery()
    which, number = literal(place).label("place"), func.count().label("number")
    if known is not None and not checks:  # nothing to tell apart
        return select(which, known.label("shown"), true().label("fits"), number).select_from(some)
    return select(which, some.c.shown, some.c.fits, number).group_by(some.c.shown, some.c.fits)


def _shown(scope: Scope) -> ColumnElement[str]:
    """The state that pages show."""
    if not scope.standing.pauses:
        return case((Task.is_in(*WAITING), State.PENDING.value), else_=Task.state)
    held = case((scope.standing.covering(), State.PAUSED.value), else_=State.PENDING.value)
    return case((Task.is_in(*WAITING), held), else_=Task.state)
