"""Counting: how many tasks a list has in each state, up to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, String, and_, case, func, literal, select, true
from sqlalchemy.orm import Session

from jobs import gathering
from jobs.conditions import Condition
from jobs.models import Task
from jobs.orders import Scope, by_id
from jobs.states import WAITING, State
from jobs.walks import Clauses, Strand

LIMIT = 10_000  # where an index alone answers
LOOK = 1_000  # entries of each state that are looked at where rows have to be


@dataclass(frozen=True)
class Count:
    """How many; with `is_capped` at least so many."""

    number: int
    is_capped: bool = False


def count_states(session: Session, scope: Scope, asked: Sequence[Condition]) -> dict[State | None, Count]:
    """How many of each state of the scope, and of all of them (None), for which all that is asked is true."""
    only = tuple(one.clause for one in asked)
    few = gathering.source(session, scope, asked) if asked else None
    if few is not None:
        return _with_all(_group(session, scope, few, only, None))
    shown = (_of_part(session, part, only) for part in _parts(scope))
    return _with_all({state: count for each in shown for state, count in each.items()})


def _parts(scope: Scope) -> Iterable[Scope]:
    """One state at a time, but what waits together: which of it is paused is for the judge to say."""
    kinds = [WAITING, *([one] for one in State if one not in WAITING)]
    return [part for kind in kinds if (part := scope.of(*kind)).states]


def _of_part(session: Session, part: Scope, only: Clauses) -> dict[State, Count]:
    strands, is_judged = by_id(part), part.states <= WAITING and bool(part.standing.pauses)
    if is_judged:
        return _by_marks(session, part, only)
    if only:
        return _group(session, part, strands, only, LOOK)
    state = State.PENDING if part.states == WAITING else next(iter(part.states))
    return dict.fromkeys(part.states, Count(0)) | {state: _all_of(session, strands[0])}


def _all_of(session: Session, strand: Strand) -> Count:
    """How many an index has."""
    entries = select(Task.id).where(*strand.where).limit(LIMIT + 1)
    if not strand.few:
        entries = entries.order_by(Task.id)  # or PostgreSQL may read the table, and not stop for long
    number = session.scalar(select(func.count()).select_from(entries.subquery())) or 0
    return Count(min(number, LIMIT), number > LIMIT)


def _by_marks(session: Session, part: Scope, only: Clauses) -> dict[State, Count]:
    """What waits under pauses: marked and unmarked apart, so that a few pending tasks are found beside many paused.

    What is marked is paused, unless a pause has just ended: so many paused tasks leave no doubt about the pending ones.
    """
    unmarked, marked = (Strand((part.here, Task.stands(one)), few=True) for one in (State.PENDING, State.PAUSED))
    pending = _group(session, part, [unmarked], only, LOOK)
    paused = _group(session, part, [marked], only, LOOK)
    is_certain = not part.standing.ended and not pending[next(iter(part.states))].is_capped
    return {state: _sum(pending[state], paused[state], state is State.PENDING and is_certain) for state in part.states}


def _sum(one: Count, other: Count, is_exact: bool) -> Count:
    number = one.number + other.number
    return Count(min(number, LIMIT), not is_exact and (one.is_capped or other.is_capped or number > LIMIT))


def _group(
    session: Session, scope: Scope, strands: Sequence[Strand], only: Clauses, limit: int | None
) -> dict[State, Count]:
    numbers, looked = dict.fromkeys(sorted(scope.states), 0), 0
    for strand in strands:
        checks = (*strand.only, *only)
        fits = and_(*checks) if checks else true()
        entries = select(_shown(scope).label("shown"), fits.label("fits")).select_from(Task).where(*strand.where)
        if limit is not None and not strand.few:
            entries = entries.order_by(Task.id)
        some = entries.limit(limit).subquery()
        for state, does, number in session.execute(
            select(some.c.shown, some.c.fits, func.count()).group_by(some.c.shown, some.c.fits)
        ):
            looked += number
            if does and State(state) in numbers:
                numbers[State(state)] += number
    is_capped = limit is not None and looked >= limit
    return {state: Count(min(number, LIMIT), is_capped or number > LIMIT) for state, number in numbers.items()}


def _shown(scope: Scope) -> ColumnElement[str]:
    """The state that pages show."""
    if len(scope.states) == 1:
        return literal(next(iter(scope.states)).value, String)
    if not scope.standing.pauses:
        return case((Task.is_in(*WAITING), State.PENDING.value), else_=Task.state)
    held = case((scope.standing.covering(), State.PAUSED.value), else_=State.PENDING.value)
    return case((Task.is_in(*WAITING), held), else_=Task.state)


def _with_all(each: dict[State, Count]) -> dict[State | None, Count]:
    number = sum(one.number for one in each.values())
    is_capped = any(one.is_capped for one in each.values())
    everything: dict[State | None, Count] = {None: Count(min(number, LIMIT), is_capped or number > LIMIT)}
    return everything | dict(each)
