"""The one judge of what may start: the open pauses of a business, and the lock between pausing and claiming."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, false, or_, select, text
from sqlalchemy.orm import Session

from jobs.models import Pause, Task
from tenants.clock import clock

CLAIM_VALID_SECONDS = 0.050  # a claimed task begins within this time of its claim, or is checked again

_LOCK_CLASS = 0x51CE  # names our advisory locks on PostgreSQL; the second key is the business, 0 the installation
_SHARED = text("SELECT pg_advisory_xact_lock_shared(:lock, 0), pg_advisory_xact_lock_shared(:lock, :business)")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(:lock, :business)")


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
            about += [Task.user_id.is_not(None), Task.user_id == self.user_id]
        if self.task_type is not None:
            about.append(Task.task_type == self.task_type)
        return and_(*about)


@dataclass(frozen=True)
class Standing:
    """The open pauses that touch one business, by id: the one judge of what may start there.

    Claims, settling and pages all ask it. It holds literal targets, not a subquery, since planners understand those.
    """

    pauses: dict[int, Target]

    def covering(self) -> ColumnElement[bool]:
        """True of a task that may not start."""
        users = [t.user_id for t in self.pauses.values() if t.task_type is None]
        types = [t.task_type for t in self.pauses.values() if t.user_id is None]
        both = [t.covering() for t in self.pauses.values() if t.user_id is not None and t.task_type is not None]
        if users:
            both.append(and_(Task.user_id.is_not(None), Task.user_id.in_(users)))
        if types:
            both.append(Task.task_type.in_(types))
        return or_(*both) if both else false()

    def over(self, user_id: int | None, task_type: str) -> int | None:
        """The id of the oldest pause that covers such a task."""
        return next((id_ for id_, target in self.pauses.items() if target.covers(user_id, task_type)), None)

    def system_wide(self) -> Standing:
        """Only those of the whole installation."""
        return Standing({id_: target for id_, target in self.pauses.items() if target.business_id is None})


def standing(session: Session, business_id: int) -> Standing:
    """The pauses that count in a business at this moment."""
    rows = session.execute(
        select(Pause.id, Pause.business_id, Pause.user_id, Pause.task_type)
        .where(is_open(), touching(business_id))
        .order_by(Pause.id)
    )
    return Standing({id_: Target(*target) for id_, *target in rows})


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
        session.execute(_EXCLUSIVE, {"lock": _LOCK_CLASS, "business": business_id or 0})


def is_open() -> ColumnElement[bool]:
    """True of a pause that counts now; one whose time is over needs no process to end it."""
    return and_(Pause.ended_at.is_(None), or_(Pause.until.is_(None), Pause.until > clock()))


def touching(business_id: int) -> ColumnElement[bool]:
    """True of a pause of this business or of the whole installation."""
    return or_(Pause.business_id.is_(None), Pause.business_id == business_id)
