"""The one judge of what may start: the pauses and limits of a business, and the locks between these and claiming."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    SQLColumnExpression,
    String,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    null,
    or_,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.orm import Session

from jobs.models import Limit, Pause, Task
from tenants.clock import clock
from tenants.database import table

_tasks, _pauses, _limits = map(table, (Task, Pause, Limit))
CLAIM_VALID_SECONDS = 0.050  # a claimed task begins within this time of its claim, or is checked again

_LOCK_CLASS = 0x51CE  # names our advisory locks on PostgreSQL; the second key is the business, 0 the installation
_ORDER_CLASS = 0x51CF
_SHARED = text("SELECT pg_advisory_xact_lock_shared(:lock, 0), pg_advisory_xact_lock_shared(:lock, :business)")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(:lock, :business)")
_FEW = 8  # pauses of a user and a type that a statement names one by one, so that indexes of users may fit
_PATIENCE = text("SET LOCAL lock_timeout = '10s'")  # a claimer frozen in mid-transaction must not stop the beat


@dataclass(frozen=True)
class Target:
    """What a pause stops: a user's tasks, a task type, or both together. No business: the whole installation."""

    business_id: int | None
    user_id: int | None = None
    task_type: str | None = None

    def covers(self, user_id: int | None, task_type: str) -> bool:
        """Whether a task of this user and type, in the target's business, is meant."""
        return self.user_id in (None, user_id) and self.task_type in (None, task_type)

    def covering(self) -> ColumnElement[bool]:
        """The same in SQL. NULL-safe: a task without a user is nobody's."""
        about: list[ColumnElement[bool]] = []
        if self.user_id is not None:
            about += [_tasks.c.user_id.is_not(None), _tasks.c.user_id == self.user_id]
        if self.task_type is not None:
            about.append(_tasks.c.task_type == self.task_type)
        return and_(*about)


@dataclass(frozen=True, eq=False)
class Standing:
    """The open pauses that touch one business, by id: the one judge of what may start there.

    Claims, settling and pages all ask it. It holds literal targets, not a subquery, since planners understand those.
    Two are equal when they hold the same, whatever the ids: statements are kept by it.
    `ended` are the pauses that are over, but some of whose tasks may still be marked; `limits` is how many tasks may
    run at once by type, and in all (None), as set for this business.
    """

    pauses: dict[int, Target]
    ended: dict[int, Target] = field(default_factory=dict)
    limits: dict[str | None, int] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Standing) and self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self._told())

    def covering(self) -> ColumnElement[bool]:
        """True of a task that may not start."""
        return _covering(tuple(self.pauses.values()))

    def sparing(self) -> ColumnElement[bool]:
        """True of a task that no pause holds."""
        return _sparing(tuple(self.pauses.values()))

    def over(self, user_id: int | None, task_type: str) -> int | None:
        """The id of the oldest pause that covers such a task."""
        return next((id_ for id_, target in self.pauses.items() if target.covers(user_id, task_type)), None)

    def system_wide(self) -> Standing:
        """Only those of the whole installation."""
        return Standing({id_: target for id_, target in self.pauses.items() if target.business_id is None})

    def _told(self) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
        return tuple(self.pauses.values()), tuple(self.ended.values())


@functools.lru_cache(maxsize=256)
def _covering(targets: tuple[Target, ...]) -> ColumnElement[bool]:
    users = [t.user_id for t in targets if t.task_type is None]
    types = [t.task_type for t in targets if t.user_id is None]
    both = [t for t in targets if t.user_id is not None and t.task_type is not None]
    found: list[ColumnElement[bool]] = [t.covering() for t in both]
    if len(both) > _FEW:
        found = [_pair().in_([f"{t.user_id}:{t.task_type}" for t in both])]
    if users:
        found.append(and_(_tasks.c.user_id.is_not(None), _tasks.c.user_id.in_(users)))
    if types:
        found.append(_tasks.c.task_type.in_(types))
    return or_(*found) if found else false()


def _pair() -> ColumnElement[str]:
    """Whose task it is and of which type, as one text: PostgreSQL plans many ORs for seconds, SQLite refuses them."""
    return cast(func.coalesce(_tasks.c.user_id, 0), String) + ":" + _tasks.c.task_type


@functools.lru_cache(maxsize=256)
def _sparing(targets: tuple[Target, ...]) -> ColumnElement[bool]:
    return ~_covering(targets) if targets else true()


def standing(session: Session, business_id: int) -> Standing:
    """The pauses and limits that count in a business at this moment, in one query."""
    rows = session.execute(_standing(), {"business_id": business_id}).all()
    pauses = sorted((id_, is_open_, Target(*target)) for id_, is_open_, _, *target in rows if id_ is not None)
    return Standing(
        {id_: target for id_, is_open_, target in pauses if is_open_},
        {id_: target for id_, is_open_, target in pauses if not is_open_},
        {row.task_type: most for row in rows if (most := row[2]) is not None},
    )


@functools.cache
def _standing() -> CompoundSelect[Any]:
    """Built once: every claim asks it."""
    business_id = bindparam("business_id", type_=Integer)
    is_open_now = case((is_open(), 1), else_=0)
    none = cast(null(), Integer)
    return union_all(
        select(_pauses.c.id, is_open_now, none, _pauses.c.business_id, _pauses.c.user_id, _pauses.c.task_type).where(
            _pauses.c.settled_at.is_(None), touching(business_id)
        ),
        select(none, none, _limits.c.max_running, _limits.c.business_id, none, _limits.c.task_type).where(
            _limits.c.business_id == business_id
        ),
    )


def let_claims_pass(session: Session, business_id: int) -> None:
    """Say that claims of a business are under way.

    PostgreSQL: make it the transaction's first statement, so that the next one sees every pause that was committed
    while this one waited.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_SHARED, {"lock": _LOCK_CLASS, "business": business_id})


def stop_claims(session: Session, business_id: int | None) -> None:
    """Wait for the claims under way and keep new ones out until the commit. SQLite's write lock does so by itself."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_PATIENCE)
        session.execute(_EXCLUSIVE, {"lock": _LOCK_CLASS, "business": business_id or 0})


def one_at_a_time(session: Session, business_id: int) -> None:
    """Let the claims of a business follow each other until the commit, so that each sees what the one before did.

    Ask for it after `let_claims_pass`, never before. SQLite's write lock does so by itself.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_EXCLUSIVE, {"lock": _ORDER_CLASS, "business": business_id})


def is_open() -> ColumnElement[bool]:
    """True of a pause that counts now; one whose time is over needs no process to end it."""
    return and_(_pauses.c.ended_at.is_(None), or_(_pauses.c.until.is_(None), _pauses.c.until > clock()))


def touching(business_id: int | SQLColumnExpression[int]) -> ColumnElement[bool]:
    """True of a pause of this business or of the whole installation."""
    return or_(_pauses.c.business_id.is_(None), _pauses.c.business_id == business_id)
