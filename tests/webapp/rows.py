"""Rows for tests of pages, each in a transaction of its own, so that no test holds SQLite's write lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from jobs.models import Attempt, Entry, Failure, Pause, SavedView, Task
from tenants import accounts, members
from tenants.clock import clock
from tenants.database import Base, transaction
from tenants.models import AuditEntry, Business, Role, User
from tenants.permissions import Actor

_NEEDS = {
    "running": {"claim_token": "t" * 32, "lease_until": clock(60), "started_at": clock(), "attempts": 1},
    "completed": {"started_at": clock(), "ended_at": clock(), "attempts": 1},
    "failed": {"started_at": clock(), "ended_at": clock(), "attempts": 1, "failure_id": 0},
    "canceled": {"ended_at": clock()},
}


def task(
    business: Business, user: Actor | None = None, state: str = "pending", error: str | None = None, **values: Any
) -> int:
    """A task, of the Scheduler unless a user is named; answers its id. `error` is what an exception said."""
    defaults = {"task_type": "test.count", "queue": "default", "payload": {"times": 1}, **_NEEDS.get(state, {})}
    with transaction() as session:
        new = Task(business_id=business.id, user_id=user.user.id if user else None, state=state, **(defaults | values))
        session.add(new)
        session.flush()
        if state in ("completed", "failed"):
            failed = {"error": error, "traceback": "Traceback: …"} if error else {"error": "LookupError: gone"}
            outcome = {"result": {"counted": 50}} if state == "completed" else failed
            session.add(_attempt(new, state, outcome))
        return new.id


def entry(task_id: int, business: Business, text: str) -> None:
    """A line of a task's log."""
    with transaction() as session:
        session.add(Entry(business_id=business.id, task_id=task_id, attempt=1, at=clock(), kind="log", text=text))


def pause(business: Business | None, by: Actor, user: Actor | None = None, **values: Any) -> int:
    """A pause of a user, or of a type; answers its id."""
    defaults: Mapping[str, Any] = {"reason": "for a test"}
    about = {"user_id": user.user.id} if user else {"task_type": "test.count"}
    with transaction() as session:
        new = Pause(
            business_id=business.id if business else None, created_by=by.user.id, **(dict(defaults) | about | values)
        )
        session.add(new)
        session.flush()
        return new.id


def failure(business: Business, **values: Any) -> int:
    """A group of failures that a beat has made; answers its id."""
    told = {"task_type": "test.count", "kind": "LookupError", "message": "gone", "count": 1}
    times = {"first_at": clock(), "last_at": clock()}
    with transaction() as session:
        new = Failure(business_id=business.id, **(told | times | values))
        session.add(new)
        session.flush()
        return new.id


def view(business: Business, owner: Actor, **values: Any) -> int:
    """A saved view of Async Tasks, shared in the business; answers its id."""
    with transaction() as session:
        number = session.scalar(select(func.count()).select_from(SavedView)) or 0
        new = SavedView(
            business_id=business.id, user_id=owner.user.id, name=f"View {number}", view="all", is_shared=True
        )
        session.add(new)
        session.flush()
        return new.id


def login(user: User) -> str:
    """The token of a new login."""
    with transaction() as session:
        return accounts.begin_login(session, user, "192.0.2.1")


def auditor(business: Business) -> Actor:
    """Otto, who may look at everything in one business."""
    with transaction() as session:
        otto = User(email="otto@example.com", name="Otto Audit", password_hash="-")
        session.add(otto)
        session.flush()
        members.add(session, business, otto, Role.AUDITOR)
        actor = members.enter(session, otto, business.slug)
        session.expunge_all()
        return actor


def find_task(task_id: int) -> Task | None:
    """A task as it is now."""
    with transaction(read_only=True) as session:
        return session.get(Task, task_id)


def find_pause(pause_id: int) -> Pause:
    """A pause as it is now."""
    with transaction(read_only=True) as session:
        return session.get_one(Pause, pause_id)


def number_of(model: type[Base]) -> int:
    """How many rows a table has."""
    with transaction(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def audited(act: str) -> list[AuditEntry]:
    """The audit log's entries of one act, oldest first."""
    with transaction(read_only=True) as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.act == act).order_by(AuditEntry.id)))


def _attempt(of: Task, outcome: str, values: dict[str, Any]) -> Attempt:
    return Attempt(
        business_id=of.business_id,
        task_id=of.id,
        number=1,
        outcome=outcome,
        started_at=clock(),
        ended_at=clock(),
        **values,
    )
