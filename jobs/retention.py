"""Retention: what is over is forgotten some time later, with its attempts and its log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from jobs import files, task_types
from jobs.models import Task
from jobs.states import FINAL
from tenants.clock import clock
from tenants.models import Business

CHUNK = 200  # tasks of one transaction, each with all that belongs to it


def forget_tasks(session: Session, business_id: int, days: float) -> int:
    """Remove a chunk of final tasks that ended so many days ago, or as many as their type says; answer how many.

    One that still holds a unique key stays until it lets go of it.
    """
    gone = 0
    for about, kept_days in _kept(days):
        over_since = clock(-timedelta(days=kept_days).total_seconds())
        old = (
            select(Task.id)
            .where(Task.business_id == business_id, Task.is_in(*FINAL), about)
            .where(Task.created_at < over_since, Task.ended_at < over_since)  # the first is what indexes know
            .where(or_(Task.unique_until.is_(None), Task.unique_until < clock()))
            .order_by(Task.created_at, Task.id)
            .limit(CHUNK)
        )
        removed = session.execute(delete(Task).where(Task.id.in_(old)).returning(Task.id, Task.task_type)).all()
        files.forget(session, ((row.id, row.task_type) for row in removed))
        gone += len(removed)
    return gone


def businesses(session: Session) -> list[int]:
    """Where there may be something to forget."""
    return list(session.scalars(select(Business.id)))


def _kept(days: float) -> Iterator[tuple[ColumnElement[bool], float]]:
    """Which tasks are kept for how many days: those of types with a time of their own, and all others."""
    own = {one.name: one.retention_days for one in task_types.all_types() if one.retention_days is not None}
    for name, its_days in own.items():
        yield Task.task_type == name, its_days
    yield Task.task_type.not_in(sorted(own)), days
