"""Acts of Sluice alone: a business with as many tasks as the lists of other dashboards hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from bench.contenders import sluice
from bench.contenders.sluice_pages import tidy
from jobs.states import State
from tenants.database import transaction
from tenants.models import User

_USERS = 100
ready = sluice.ready


def sow(count: int) -> int:
    """So many tasks that are done and, newer, so many that wait, of a hundred users; how many its list holds."""
    business = sluice.add_admin()
    names = [f"User {number}" for number in range(_USERS)]
    people = [{"email": f"{one.replace(' ', '')}@example.com", "name": one, "password_hash": "!"} for one in names]
    with transaction() as session:
        users = list(session.scalars(insert(User).returning(User.id), people))
    began = datetime.now(UTC) - timedelta(seconds=2 * count)
    sluice.insert_tasks(_done(one) for one in _tasks(business, users, began, range(count)))
    sluice.insert_tasks(_tasks(business, users, began, range(count, 2 * count)))
    tidy()
    return 2 * count


def _tasks(business: int, users: list[int], began: datetime, numbers: range) -> Iterator[dict[str, Any]]:
    """One a second, each of the next user."""
    for number in numbers:
        at = began + timedelta(seconds=number)
        yield {
            "business_id": business,
            "user_id": users[number % len(users)],
            "task_type": "bench.nothing",
            "queue": "bench",
            "title": f"Task {number}",
            "payload": {"number": number},
            "created_at": at,
            "next_try_at": at,
        }


def _done(task: dict[str, Any]) -> dict[str, Any]:
    at = task["created_at"]
    return {**task, "state": State.COMPLETED, "attempts": 1, "started_at": at, "ended_at": at + timedelta(seconds=2)}
