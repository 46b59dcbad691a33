"""Grouping: the beat puts failed tasks into groups of one type and error. `jobs.failures` shows them.

Whatever lets a task fail (a worker, the end of a lease) marks it as ungrouped, and knows no more of groups: so a flood
of failures has no row that all of them wait for, and what succeeds costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.failure_filters import FailureState
from jobs.models import UNGROUPED, Attempt, Failure, Task
from tenants.clock import UtcDateTime, clock
from tenants.models import Business

CHUNK = 200  # failed tasks of one transaction, since nobody else writes to SQLite meanwhile
_LOOK = 1_000  # characters of an error that are looked at
_LOST = "Lost"  # the kind of what no exception ended, but the end of its process
_NUMBERS = re.compile(
    r"""
      \b 0x [0-9a-f]+ \b                                   # an address
    | \b [0-9a-f]{8} (?: -[0-9a-f]{4} ){3} -[0-9a-f]{12} \b  # a UUID
    | \b (?= \w*[0-9] ) (?: [0-9a-f]{8,} | \w{16,} ) \b      # a hash, a token
    | (?<! \w ) [-+] [0-9]+ (?: [.,:/T-] [0-9]+ )* Z?        # a number with its sign
    | [0-9]+ (?: [.,:/T-] [0-9]+ )* (?: Z \b )?              # a number, date, time, version
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass
class _Group:
    """Failed tasks that belong together, and when they failed."""

    ids: list[int] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)


def evened(text: str) -> str:
    """The first line of an error with # for each number, date, address, hash and id, as short as a list shows it."""
    line = next((one for one in text[:_LOOK].splitlines() if one.strip()), "")
    even = _NUMBERS.sub("#", " ".join(line.split()))
    return even if len(even) <= 200 else f"{even[:199]}…"


def businesses(session: Session, after: int = 0) -> list[int]:
    """Where tasks failed that are in no group, those behind `after` first."""
    ungrouped = exists().where(Task.business_id == Business.id, Task.failure_id == UNGROUPED)
    return list(session.scalars(select(Business.id).where(ungrouped).order_by(Business.id <= after, Business.id)))


def group(session: Session, business_id: int) -> int:
    """Put a chunk of failed tasks into their groups; answer how many. What was resolved is open again."""
    found = _ungrouped(session, business_id)
    groups: dict[tuple[str, str, str], _Group] = {}
    for row in found:
        one = groups.setdefault((row.task_type, *_error(row)), _Group())
        one.ids.append(row.id)
        one.times.append(row.failed_at)
    for key, one in sorted(groups.items()):  # in the same order always, so that two never wait for each other
        failure_id = _add(session, business_id, key, one)
        session.execute(
            update(Task)
            .where(Task.id.in_(one.ids))
            .values(failure_id=failure_id)
            .execution_options(synchronize_session=False)
        )
    return len(found)


def group_all(session: Session) -> None:
    """Put every failed task into its group, in this one transaction."""
    for business_id in businesses(session):
        while group(session, business_id):
            pass


def forget(session: Session, business_id: int, days: float) -> int:
    """Remove a chunk of groups that had no failure for so many days and whose tasks are gone; answer how many.

    What is ignored stays, or it would be open when it comes back.
    """
    old = (
        select(Failure.id)
        .where(Failure.business_id == business_id, Failure.state.in_([FailureState.OPEN, FailureState.RESOLVED]))
        .where(Failure.last_at < clock(-timedelta(days=days).total_seconds()))
        .where(~exists().where(Task.business_id == business_id, Task.failure_id == Failure.id))
        .limit(CHUNK)
    )
    return len(session.scalars(delete(Failure).where(Failure.id.in_(old)).returning(Failure.id)).all())


def _ungrouped(session: Session, business_id: int) -> Sequence[Row[Any]]:
    """A chunk of failed tasks, each with its last attempt. What somebody deletes at this moment is passed over."""
    last = and_(Attempt.task_id == Task.id, Attempt.number == Task.attempts)
    return session.execute(
        select(
            Task.id,
            Task.task_type,
            func.coalesce(Task.ended_at, Task.created_at, type_=UtcDateTime).label("failed_at"),
            Attempt.outcome,
            func.substr(Attempt.error, 1, _LOOK).label("error"),
            Attempt.traceback.is_not(None).label("was_raised"),
        )
        .outerjoin(Attempt, last)
        .where(Task.business_id == business_id, Task.failure_id == UNGROUPED)
        .limit(CHUNK)
        .with_for_update(of=Task, skip_locked=True)
    ).all()


def _error(row: Row[Any]) -> tuple[str, str]:
    """Its kind, which is the exception's class, and what it says. Secrets were masked when it was stored."""
    error = row.error or ""
    if row.outcome == "lost":
        return _LOST, evened(error)
    kind, colon, said = error.partition(":")
    return (kind[:100], evened(said)) if row.was_raised and colon else ("", evened(error))


def _add(session: Session, business_id: int, key: tuple[str, str, str], one: _Group) -> int:
    """Count these failures in their group, which may be new; answer its id."""
    task_type, kind, message = key
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    new = dialect.insert(Failure).values(
        business_id=business_id,
        task_type=task_type,
        kind=kind,
        message=message,
        count=len(one.ids),
        first_at=min(one.times),
        last_at=max(one.times),
    )
    returns = and_(Failure.state == FailureState.RESOLVED, new.excluded.last_at > Failure.changed_at)
    failure_id: int = session.scalars(
        new.on_conflict_do_update(
            index_elements=["business_id", "task_type", "kind", "message"],
            set_={
                "count": Failure.count + new.excluded.count,
                "first_at": _if(new.excluded.first_at < Failure.first_at, new.excluded.first_at, Failure.first_at),
                "last_at": _if(new.excluded.last_at > Failure.last_at, new.excluded.last_at, Failure.last_at),
                "state": _if(returns, FailureState.OPEN.value, Failure.state),
                "returned_at": _if(returns, new.excluded.last_at, Failure.returned_at),
            },
        ).returning(Failure.id)
    ).one()
    return failure_id


def _if(fact: ColumnElement[bool], value: Any, otherwise: Any) -> ColumnElement[Any]:
    return case((fact, value), else_=otherwise)
