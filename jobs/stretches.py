"""Stretches: how far a claim looks at once where pauses hold much of what stands first.

What a pause holds is passed over until it is set aside. Passing over 100,000 tasks takes a claim 40 ms, in which nobody
else may write on SQLite. So where anything is held near the head, a turn's claims look at some tasks only. When there
is nothing for them, a look that locks nothing (`picks.look_ahead`) finds where they go on, and the turn remembers it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, func, select
from sqlalchemy.orm import Session

from jobs import levels
from jobs.judge import Standing, Target
from jobs.levels import Level
from jobs.models import Task
from jobs.states import State
from tenants.clock import UtcDateTime
from tenants.database import BigId, table

_tasks = table(Task)
LONGEST = 500  # tasks that a claim looks at
MOST = 50  # that it takes: more take PostgreSQL 20 ms while others set tasks aside
NEAR = 2_000  # tasks in which nothing must be held, for claims to look and to take as they like
Asked = tuple[tuple[str, ...], tuple[Target, ...]]  # the types and the pauses of a claim
BIGGEST = 2**63 - 1
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A place among the tasks of one priority, as claims come to them."""

    at: datetime = _EVER
    id: int = 0


@dataclass
class Passed:
    """What a turn has passed over at each priority: all up to a place may not start, or was claimed.

    What a turn itself gives back, or fails to commit, makes it forget this. What comes to before a place since another
    worker had it in hand, or commits late, is for the next turn to find.
    """

    places: dict[int, Place] = field(default_factory=dict)
    asked: Asked = ((), ())
    clear: int = 0  # tasks at the head of which none is held
    is_short: bool = False  # a stretch ended before there was anything to claim

    def forget(self, asked: Asked) -> None:
        """All is looked at anew, for what is asked for from now on."""
        self.places, self.asked, self.clear = {}, asked, 0


@dataclass(frozen=True)
class Stretch:
    """A part of what is due: `KINDS` has the condition, these are its values. `is_end`: more is due than that."""

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    is_end: bool = False


def _time(name: str) -> Any:
    return bindparam(name, type_=UtcDateTime())


_DUE = _tasks.c.next_try_at <= levels.now()
_LEVEL = _tasks.c.priority == bindparam("level")
_LATER = _tasks.c.next_try_at > _time("since")
_BEHIND = and_(_tasks.c.next_try_at == _time("at"), _tasks.c.id > bindparam("above", type_=BigId))

# Each is one range of the index of what is pending. A range from one place to another is several: where many tasks have
# the same time, SQLite finds no place among them by time and id together. What ends before a task that is due is due.
KINDS: Mapping[str, ColumnElement[bool]] = {
    "only": and_(_tasks.c.id == bindparam("only"), _DUE),
    "rest": and_(_tasks.c.priority < bindparam("level"), _DUE),
    "level": and_(_LEVEL, _DUE),
    "later": and_(_LEVEL, _LATER, _DUE),
    "between": and_(_LEVEL, _LATER, _tasks.c.next_try_at < _time("before")),
    "moment": and_(_LEVEL, _BEHIND, _tasks.c.id <= bindparam("up_to", type_=BigId)),
}


def behind(
    session: Session, business_id: int, name: str, at: Sequence[Level], places: dict[int, Place]
) -> Iterator[Stretch]:
    """A stretch of what is due in a queue at each of these levels, behind the places, in claim order.

    Whoever comes for the next one has taken all of the last: a place among tasks of one time is behind them then.
    """
    for level in at:
        if level.is_rest:
            yield whole(level)
        else:
            yield from _stretch(session, business_id, name, level.priority, places)


def head(
    session: Session, business_id: int, name: str, at: Sequence[Level], held: tuple[Target, ...]
) -> tuple[int, bool]:
    """How many tasks stand first and are due of which these pauses hold none, NEAR or 0; whether they hold so many.

    The second, at the first priority at which something is due, spares a claim that would find nothing.
    """
    about = {"business": business_id, "name": name, "near": NEAR}
    for place, part in enumerate(map(whole, at)):
        if number := session.connection().scalar(_held_first(held, part.kind), {**about, **part.values}):
            return 0, number == NEAR and place == 0 and part.kind == "level"  # only there a look ahead helps
    return NEAR, False


def whole(level: Level) -> Stretch:
    """All that is due at a level."""
    return Stretch("rest" if level.is_rest else "level", {"level": level.priority})


def left(level: Level, places: Mapping[int, Place]) -> list[Stretch]:
    """All that is due at a level and not passed."""
    place = None if level.is_rest else places.get(level.priority)
    if place is None:
        return [whole(level)]
    return [_moment(level.priority, place), Stretch("later", {"level": level.priority, "since": place.at})]


def _stretch(
    session: Session, business_id: int, name: str, priority: int, places: dict[int, Place]
) -> Iterator[Stretch]:
    """The same, but not all: three stretches at most. A moment that is used up is passed."""
    here = {"business": business_id, "name": name, "further": LONGEST - 1, "level": priority}
    place = places.get(priority, Place())
    if place != Place() and place.id < BIGGEST:
        end = _end(session, "moment", {**here, **_moment(priority, place).values})
        yield _moment(priority, place, end)
        if end:
            return
        places[priority] = Place(place.at, BIGGEST)
    end = _end(session, "later", {**here, "since": place.at})
    if end is None:
        yield Stretch("later", {"level": priority, "since": place.at})
        return
    yield Stretch("between", {"level": priority, "since": place.at, "before": end.at})
    yield _moment(priority, Place(end.at), end)


def _moment(priority: int, place: Place, end: Place | None = None) -> Stretch:
    """Tasks of one time, from one id to another."""
    values = {"level": priority, "at": place.at, "above": place.id, "up_to": end.id if end else BIGGEST}
    return Stretch("moment", values, is_end=end is not None)


def _end(session: Session, kind: str, about: Mapping[str, Any]) -> Place | None:
    """The place so many tasks further on; None if there are not so many."""
    found = session.connection().execute(_further(kind), about).first()
    return Place(*found) if found else None


@functools.cache
def _further(kind: str) -> Select[tuple[datetime, int]]:
    some = _waiting(kind, _tasks.c.next_try_at, _tasks.c.id)
    return some.offset(bindparam("further", type_=Integer)).limit(1)


@functools.lru_cache(maxsize=64)
def _held_first(held: tuple[Target, ...], kind: str) -> Select[tuple[int]]:
    is_held = Standing(dict(enumerate(held))).covering().label("is_held")
    first = _waiting(kind, is_held).limit(bindparam("near", type_=Integer)).subquery("head")
    return select(func.count()).select_from(first).where(first.c.is_held)


def _waiting(kind: str, *columns: Any) -> Select[Any]:
    """What is pending in such a stretch, in claim order."""
    here = (
        _tasks.c.business_id == bindparam("business"),
        _tasks.c.queue == bindparam("name"),
        Task.stands(State.PENDING),
    )
    return select(*columns).where(*here, KINDS[kind]).order_by(*Task.claim_order())
