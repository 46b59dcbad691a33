"""Picks: the tasks that a claim starts, the best that may start, and how far it looks for them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, select, type_coerce, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import NullType

from jobs import judge, levels, settling, stretches
from jobs.judge import Standing, Target
from jobs.models import Task
from jobs.states import State
from jobs.stretches import Asked, Passed, Place, Stretch
from tenants.clock import clock
from tenants.database import table
from tenants.within import found_by

_tasks = table(Task)
_NAMES = "id user_id task_type attempts max_attempts priority timeout_seconds claim_alone".split()
# These as the driver gives them: reading a hundred of them costs more than the statement, and holds SQLite's lock.
_RAW = [type_coerce(_tasks.c[name], NullType()).label(name) for name in ("payload", "next_try_at", "started_at")]
COLUMNS = [*(_tasks.c[name] for name in _NAMES), *_RAW]


def pick(session: Session, asked: Asked, about: dict[str, Any], passed: Passed | None) -> tuple[list[Row[Any]], bool]:
    """Claim, in stretches if need be; whether that ended before all that is due."""
    if about["only"] is not None:
        return [*session.connection().execute(_claiming(*asked, "only"), about)], False
    here, held = (session, about["business"], about["name"]), asked[1]
    at = levels.due(*here)
    if passed and passed.asked != asked:
        passed.forget(asked)
    if passed is None or not held:
        return best(session, asked, map(stretches.whole, at), about)
    if passed.clear < about["limit"] and not passed.places:
        passed.clear, is_all_held = stretches.head(*here, at, held)
        if is_all_held:
            return [], True
    if not passed.clear:
        some = {**about, "limit": min(about["limit"], stretches.MOST)}
        return best(session, asked, stretches.behind(*here, at, passed.places), some)
    rows, _ = best(session, asked, map(stretches.whole, at), about)
    passed.clear -= len(rows)
    return rows, False


def look_ahead(session: Session, business_id: int, name: str, passed: Passed) -> None:
    """Find where picks go on that found nothing in their stretch, and note all before as passed. It locks nothing.

    What pauses held that ended is not behind that place, either: it is brought back for claims, and by the beat.
    """
    about = {"business": business_id, "name": name}
    now, standing = session.connection().execute(select(clock())).scalar_one(), judge.standing(session, business_id)
    ready = and_(of_types(business_id, name, passed.asked[0]), _tasks.c.next_try_at <= levels.now())
    for level in [level for level in levels.due(session, business_id, name) if not level.is_rest]:
        priority, at_one = level.priority, and_(ready, _tasks.c.priority == level.priority)
        left = stretches.left(level, passed.places)
        found = _first(session, passed.asked, left, about), *settling.places(session, business_id, standing, at_one)
        first = min((tuple(one) for one in found if one), default=None)
        passed.places[priority] = Place(first[0], first[1] - 1) if first else Place(now, stretches.BIGGEST)


def is_any(session: Session, asked: Asked, business_id: int, name: str, places: dict[int, Place]) -> bool:
    """Whether a pick would find something that is not passed."""
    left = (part for level in levels.due(session, business_id, name) for part in stretches.left(level, places))
    return _first(session, asked, left, {"business": business_id, "name": name}) is not None


def of_types(business_id: Any, name: Any, types: Sequence[str]) -> ColumnElement[bool]:
    """True of the tasks of these types in a queue."""
    return and_(_tasks.c.business_id == business_id, _tasks.c.queue == name, _tasks.c.task_type.in_(types))


def best(
    session: Session, asked: Asked, parts: Iterable[Stretch], about: dict[str, Any]
) -> tuple[list[Row[Any]], bool]:
    """Claim in one part after the other until there are enough; whether it ended before all that is due."""
    rows: list[Row[Any]] = []
    for part in parts:
        here = {**about, **part.values, "limit": about["limit"] - len(rows)}
        # Not the session's: it would find out each time what an UPDATE means for its objects, and compile it anew.
        rows += session.connection().execute(_claiming(*asked, part.kind), here).all()
        if part.is_end or len(rows) == about["limit"]:
            return rows, part.is_end
    return rows, False


@functools.lru_cache(maxsize=64)
def _claiming(types: tuple[str, ...], held: tuple[Target, ...], kind: str) -> ReturningUpdate[Any]:
    """The claim under these pauses. Building it takes as long as running it, and a turn runs the same many times."""
    found = (
        _finding(types, held, kind, _tasks.c.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)  # pass over those that another worker claims right now
        .cte("best")
        .prefix_with("MATERIALIZED", dialect="postgresql")  # else a plan may run it again and claim more than `limit`
    )
    return (
        update(_tasks)
        .where(found_by(_tasks.c.id, select(found.c.id)))
        .values(
            state=State.RUNNING,
            attempts=_tasks.c.attempts + 1,
            claim_token=bindparam("token"),
            lease_until=clock(bindparam("lease")),
            started_at=clock(),
            worker=bindparam("by"),
            pid=bindparam("process"),
        )
        .returning(*COLUMNS)
    )


def _first(
    session: Session, asked: Asked, parts: Iterable[Stretch], about: dict[str, Any]
) -> Row[tuple[datetime, int]] | None:
    """The first task in these parts that may start."""
    found = (session.connection().execute(_places(*asked, one.kind), {**about, **one.values}).first() for one in parts)
    return next((one for one in found if one), None)


@functools.lru_cache(maxsize=64)
def _places(types: tuple[str, ...], held: tuple[Target, ...], kind: str) -> Select[tuple[datetime, int]]:
    return _finding(types, held, kind, _tasks.c.next_try_at, _tasks.c.id).limit(1)


def _finding(types: tuple[str, ...], held: tuple[Target, ...], kind: str, *columns: Any) -> Select[Any]:
    """What may start under these pauses, in claim order."""
    # The pauses first: SQLite judges in this order, and may have to pass over many tasks that are held.
    ready = [Standing(dict(enumerate(held))).sparing(), Task.stands(State.PENDING)]
    ready += [of_types(bindparam("business"), bindparam("name"), types), stretches.KINDS[kind]]
    return select(*columns).where(*ready).order_by(*Task.claim_order())
