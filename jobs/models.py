"""The tables of what runs: tasks, their attempts, entries and failures, and the pause registry.

`jobs.indexes` has their indexes, `jobs.schedule_models` the tables of schedules. No id is given twice, but a limit's:
on SQLite the migrations see to that.
"""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from jobs import task_types
from jobs.states import WAITING, State
from tenants.clock import UtcDateTime, clock
from tenants.database import Base, BigId, BusinessOwned, ByteOrdered, table
from tenants.models import Business, User

_STATES = ", ".join(f"'{state}'" for state in State)
# Written in a way of its own: PostgreSQL never takes an index of lists for a claim then, even without statistics.
WAITS = "state || '' IN ('paused', 'pending')"
UNGROUPED = 0  # the `failure_id` of what has failed and is in no group of failures yet


def sort_title(title: str | None, task_type: str) -> str:
    """What a task is called in lists, in lower case by Python: each database has its own idea of that."""
    return (title or task_types.title_of(task_type)).lower()[:200]


def _default_sort_title(context: Any) -> str:
    given = context.get_current_parameters()  # of an INSERT from a SELECT there are none
    return sort_title(given.get("title"), given.get("task_type", ""))


class Task(BusinessOwned, Base):
    """One row of work of one type, submitted by a user or, without a user, by the Scheduler."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    task_type: Mapped[str] = mapped_column(String(100))
    queue: Mapped[str] = mapped_column(String(50))
    title: Mapped[str | None] = mapped_column(String(200))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(12), default=State.PENDING)
    cause: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    attempts: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=10)
    claim_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None] = mapped_column(String(100))
    pid: Mapped[int | None] = mapped_column()
    claim_alone: Mapped[bool] = mapped_column(default=False)
    timeout_seconds: Mapped[float | None] = mapped_column()
    unique_key: Mapped[str | None] = mapped_column(String(200))
    unique_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    progress_done: Mapped[int | None] = mapped_column(BigId)
    progress_total: Mapped[int | None] = mapped_column(BigId)
    step: Mapped[str | None] = mapped_column(String(200))
    parent_id: Mapped[int | None] = mapped_column(BigInteger)
    rerun_of: Mapped[int | None] = mapped_column(BigInteger)
    ref: Mapped[str | None] = mapped_column(String(200))
    sort_title: Mapped[str] = mapped_column(ByteOrdered(200), default=_default_sort_title, server_default="")
    undo_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failure_id: Mapped[int | None] = mapped_column(BigInteger)

    user: Mapped[User | None] = relationship(foreign_keys=user_id)
    ender: Mapped[User | None] = relationship(foreign_keys=ended_by)
    business: Mapped[Business] = relationship()

    @classmethod
    @functools.cache
    def stands(cls, state: State) -> ColumnElement[bool]:
        """The task is in this state: written into the statement, since SQLite fits no partial index to a parameter."""
        return table(cls).c.state == literal(state.value, String, literal_execute=True)

    @classmethod
    @functools.cache
    def waits(cls) -> ColumnElement[bool]:
        """The task is pending or paused, as lists ask for it: only they may use the indexes of what waits."""
        return literal_column(f"tasks.{WAITS}")  # without a type, or SQLite gets "= 1" after it

    @classmethod
    @functools.cache  # a page of tasks has forty of these
    def is_in(cls, *states: State) -> ColumnElement[bool]:
        """The task is in one of these states: written as partial indexes have it."""
        names = sorted(state.value for state in states)
        if len(names) == 1:
            return cls.stands(State(names[0]))
        return cls.state.in_(bindparam(None, names, expanding=True, literal_execute=True))

    @classmethod
    def is_there(cls) -> ColumnElement[bool]:
        """The task is not deleted: a final one is gone at once, though its deletion can be undone for a while."""
        return or_(cls.undo_until.is_(None), cls.state == State.CANCELLING)

    @classmethod
    def rests(cls) -> ColumnElement[bool]:
        """The task is not over and nothing of it runs: it waits, or it did when it was deleted, which may be undone."""
        deleted = and_(cls.state == State.CANCELLING, cls.undo_until.is_not(None))
        return or_(cls.state.in_(sorted(WAITING)), deleted)

    @property
    def is_deleted(self) -> bool:
        """Whether its deletion can be undone still: then it is final and hidden, or it waited and is Cancelling."""
        return self.undo_until is not None

    @classmethod
    def claim_order(cls) -> tuple[ColumnElement[Any], ...]:
        """The order in which ready tasks are claimed."""
        tasks = table(cls).c
        return tasks.priority.desc(), tasks.next_try_at.asc(), tasks.id.asc()

    @classmethod
    def any_waits(cls, *where: ColumnElement[bool]) -> ColumnElement[bool]:
        """Whether any task of a business is like this, looked for along an index of what waits.

        EXISTS has no order: where most of the table waits, PostgreSQL expects one at once and reads the table for it.
        """
        tasks = table(cls).c
        found = select(tasks.id).where(*where).order_by(tasks.queue, *cls.claim_order()).limit(1).scalar_subquery()
        return found.is_not(None)

    __table_args__ = (
        UniqueConstraint("business_id", "id"),
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        CheckConstraint("(claim_token IS NULL) = (lease_until IS NULL)", name="token_has_lease"),
        CheckConstraint(
            "CASE state WHEN 'running' THEN claim_token IS NOT NULL WHEN 'cancelling' THEN 1=1 "
            "ELSE claim_token IS NULL END",
            name="token_while_running",
        ),
    )


class Attempt(BusinessOwned, Base):
    """One start of a task, written when it ended: completed, failed, retry, canceled or lost."""

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_id: Mapped[int] = mapped_column(BigId)
    number: Mapped[int] = mapped_column()
    outcome: Mapped[str] = mapped_column(String(12))
    worker: Mapped[str | None] = mapped_column(String(100))
    pid: Mapped[int | None] = mapped_column()
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)
    result: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("task_id", "number"),
        ForeignKeyConstraint(
            ["business_id", "task_id"], ["tasks.business_id", "tasks.id"], ondelete="CASCADE", name="fk_attempts_task"
        ),
    )


class Entry(BusinessOwned, Base):
    """One line of a task's timeline: what its handler said (a log message, a step), or what was done to it."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_id: Mapped[int] = mapped_column(BigId)
    attempt: Mapped[int] = mapped_column()
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        ForeignKeyConstraint(
            ["business_id", "task_id"], ["tasks.business_id", "tasks.id"], ondelete="CASCADE", name="fk_entries_task"
        ),
    )


class Failure(BusinessOwned, Base):
    """All failed tasks of one type with the same error, but for its numbers and ids. They name it as `failure_id`.

    `count` is how often that happened since `first_at`: tasks that are deleted or forgotten later still count.
    """

    __tablename__ = "failures"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_type: Mapped[str] = mapped_column(ByteOrdered(100))
    kind: Mapped[str] = mapped_column(ByteOrdered(100))
    message: Mapped[str] = mapped_column(ByteOrdered(200))
    count: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(10), default="open")
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    changed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    changer: Mapped[User | None] = relationship()

    __table_args__ = (
        UniqueConstraint("business_id", "task_type", "kind", "message"),
        CheckConstraint("state IN ('open', 'resolved', 'ignored')", name="state"),
    )


class Pause(Base):
    """Stops new starts of a user's tasks, of a task type, or of both together. Ended rows stay as history.

    `settled_at` is set on an ended one when none of its tasks is marked as paused any more.
    """

    __tablename__ = "pauses"

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int | None] = mapped_column(ForeignKey("businesses.id"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    task_type: Mapped[str | None] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User | None] = relationship(foreign_keys=user_id)
    creator: Mapped[User | None] = relationship(foreign_keys=created_by)
    ender: Mapped[User | None] = relationship(foreign_keys=ended_by)

    @property
    def author(self) -> str:
        """Who said so; a pause that Sluice made by itself has nobody."""
        return self.creator.name if self.creator else "Sluice"

    __table_args__ = (CheckConstraint("user_id IS NOT NULL OR task_type IS NOT NULL", name="target"),)


class Limit(BusinessOwned, Base):
    """How many tasks of a business, or of one type in it, may run at the same time."""

    __tablename__ = "limits"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_type: Mapped[str | None] = mapped_column(String(100))
    max_running: Mapped[int] = mapped_column()

    __table_args__ = (
        CheckConstraint("max_running >= 0", name="max_running"),
        UniqueConstraint("business_id", "task_type"),
    )


class SavedView(BusinessOwned, Base):
    """A list of tasks as somebody likes to see it: the address's values, and the columns if they were chosen."""

    __tablename__ = "saved_views"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(60))
    view: Mapped[str] = mapped_column(String(10))
    query: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    columns: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    is_shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=clock())

    __table_args__ = (UniqueConstraint("business_id", "user_id", "view", "name"),)
