"""What lies in the tables, read whole between two steps, and the clock that the machine moves on."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, delete, func, literal, select, update
from sqlalchemy.orm import Session

from jobs.models import Attempt, Entry, Failure, Limit, Pause, Task
from jobs.schedule_models import Firing, Schedule
from tenants.clock import UtcDateTime, clock
from tenants.database import transaction
from tenants.models import AuditEntry

Row = Any  # a named tuple of all columns of a table
Rows = dict[int, Row]
_MOVED_WITH_THE_CLOCK = (Task, Attempt, Pause, Schedule, Firing)
_EMPTIED = (Entry, Attempt, Firing, Schedule, Task, Failure, Pause, Limit, AuditEntry)
_ROWS = {model: namedtuple(model.__tablename__, model.__table__.columns.keys()) for model in _EMPTIED}  # type: ignore[misc]

_SELECTS = {model: select(model.__table__) for model in _EMPTIED}  # made once, since they are asked ten thousand times


@dataclass(frozen=True)
class View:
    """Every row that a step may change, with all its columns, and the database's time after they were read."""

    tasks: Rows
    attempts: dict[tuple[int, int], Row]
    pauses: Rows
    limits: Sequence[Row]
    schedules: Rows
    firings: Sequence[Row]
    entries: Rows
    now: datetime

    @classmethod
    def of(cls, session: Session) -> View:
        """What this transaction sees."""

        def read(model: type[Any]) -> Sequence[Row]:
            return [_ROWS[model](*row) for row in session.execute(_SELECTS[model])]

        attempts = read(Attempt)
        return cls(
            tasks={row.id: row for row in read(Task)},
            attempts={(row.task_id, row.number): row for row in attempts},
            pauses={row.id: row for row in read(Pause)},
            limits=read(Limit),
            schedules={row.id: row for row in read(Schedule)},
            firings=read(Firing),
            entries={row.id: row for row in read(Entry)},
            now=session.execute(select(clock())).scalar_one(),
        )

    @classmethod
    def read(cls) -> View:
        """What is committed."""
        with transaction(read_only=True) as session:
            return cls.of(session)

    def attempts_of(self, task_id: int) -> list[Row]:
        """The ended attempts of a task, first to last."""
        return sorted((row for row in self.attempts.values() if row.task_id == task_id), key=lambda row: row.number)


def let_pass(seconds: float) -> None:
    """Let time pass: all that is stored moves back, which is the same as the clock moving on."""
    with transaction() as session:
        for model in _MOVED_WITH_THE_CLOCK:
            times = [column for column in model.__table__.columns if isinstance(column.type, UtcDateTime)]
            session.execute(update(model.__table__).values({one: _earlier(session, one, seconds) for one in times}))


def _earlier(session: Session, column: ColumnElement[datetime], seconds: float) -> ColumnElement[Any]:
    if session.get_bind().dialect.name == "postgresql":
        return column - literal(timedelta(seconds=seconds), Interval)
    return func.strftime("%Y-%m-%d %H:%M:%f000", column, f"-{seconds} seconds")


def forget_everything() -> None:
    """Empty the tables. A new database for each run of the machine would take PostgreSQL half a second."""
    with transaction() as session:
        for model in _EMPTIED:
            session.execute(delete(model.__table__))
