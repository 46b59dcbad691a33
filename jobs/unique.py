"""Unique keys: no two tasks of a business have the same one at the same time."""

from __future__ import annotations

import hashlib

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from jobs.models import Task
from jobs.states import FINAL
from tenants.clock import clock
from tenants.database import table
from tenants.errors import Conflict

_tasks = table(Task)
_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")


class DuplicateTask(Conflict):
    """This unique key is taken by another task."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"This unique key is taken by task {task_id}.", field="unique_key")
        self.task_id = task_id


def keep(session: Session, business_id: int, key: str) -> None:
    """DuplicateTask while a task of the business has this key; whoever else asks for it waits for our commit.

    Only the newest task with the key can have it: the older ones had lost it when that was added.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite's write lock does so by itself
        digest = hashlib.blake2b(f"{business_id}:{key}".encode(), digest_size=8).digest()
        session.execute(_LOCK, {"lock": int.from_bytes(digest, signed=True)})
    newest = (
        select(_tasks.c.id)
        .where(_tasks.c.business_id == business_id, _tasks.c.unique_key == key)
        .order_by(_tasks.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    taken = or_(_tasks.c.state.not_in(sorted(FINAL)), _tasks.c.unique_until > clock())
    holder = session.scalar(select(_tasks.c.id).where(_tasks.c.id == newest, taken))
    if holder is not None:
        raise DuplicateTask(holder)
