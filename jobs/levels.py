"""The priorities at which something is due. Claims look there only.

Tasks that wait for tomorrow stand in the index of claims before those of lower priorities, and a claim would pass over
each of them: 50 ms for 100,000. At one priority what is due stands first, so one look tells, however many wait behind.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, bindparam, func, literal, select
from sqlalchemy.orm import Session

from jobs.models import Task
from jobs.states import State
from tenants.clock import clock
from tenants.database import table

MOST = 8  # priorities that are looked at one by one; what waits below them is walked in one go, due or not

_tasks = table(Task)
_FIRST = literal(1).label("place")


@dataclass(frozen=True)
class Level:
    """A priority at which something is due, or all that are lower than it."""

    priority: int
    is_rest: bool = False

    def holds(self) -> ColumnElement[bool]:
        """True of what waits there."""
        return _tasks.c.priority < self.priority if self.is_rest else _tasks.c.priority == self.priority


def due(session: Session, business_id: int, name: str) -> list[Level]:
    """The levels of a queue at which a claim may find something, in claim order."""
    rows = session.connection().execute(_of_one(), {"business": business_id, "name": name})
    in_order = sorted(rows, key=lambda row: row.place)
    return [level for row in in_order for level in _levels(row.priority, row.place, row.is_due)]


def now() -> ScalarSelect[Any]:
    """The clock as one value: PostgreSQL would ask it anew for each row, and so could not enter an index by it."""
    return select(clock()).scalar_subquery()


def _levels(priority: int | None, place: int, is_due: bool) -> Iterator[Level]:
    if priority is not None and is_due:
        yield Level(priority)
    if priority is not None and place == MOST:
        yield Level(priority, is_rest=True)


@functools.cache
def _of_one() -> Select[Any]:
    """Built once: every claim asks it."""
    business = bindparam("business", type_=Integer)
    return _walk(select(business.label("business_id"), _greatest(business).label("priority"), _FIRST))


def _walk(top: Select[Any]) -> Select[Any]:
    """From the greatest priority that waits to the next one, by one look at the index each."""
    walk = top.cte("levels", recursive=True)
    lower = _greatest(walk.c.business_id, _tasks.c.priority < walk.c.priority)
    more = walk.c.priority.is_not(None), walk.c.place < MOST
    levels = walk.union_all(select(walk.c.business_id, lower, walk.c.place + 1).where(*more))
    at = _waiting(levels.c.business_id, _tasks.c.priority == levels.c.priority, _tasks.c.next_try_at <= now())
    return select(levels.c.business_id, levels.c.priority, levels.c.place, Task.any_waits(*at).label("is_due"))


def _greatest(business_id: Any, *where: ColumnElement[bool]) -> ScalarSelect[Any]:
    return select(func.max(_tasks.c.priority)).where(*_waiting(business_id, *where)).scalar_subquery()


def _waiting(business_id: Any, *where: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    return _tasks.c.business_id == business_id, _tasks.c.queue == bindparam("name"), Task.stands(State.PENDING), *where
