"""Leases that ran out: the worker of a task disappeared, so the task goes back, or fails after its last attempt."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, insert, null, select, update
from sqlalchemy.orm import Session

from jobs import queue
from jobs.models import Attempt, Task
from jobs.states import FINAL, State
from tenants.clock import clock

LOST = "The worker disappeared: its lease ran out."


def reap(session: Session) -> int:
    """Take away every attempt whose lease ran out, and write it down as lost; answer how many.

    One compare-and-set: selecting first and updating later would overwrite what finished in between.
    """
    held = (State.RUNNING, State.CANCELLING)
    lost = session.execute(
        update(Task)
        .where(Task.lease_until.is_not(None), Task.lease_until < clock(), Task.state.in_(held))
        .values(
            state=case(
                (Task.state == State.CANCELLING, State.CANCELED),
                (Task.attempts >= Task.max_attempts, State.FAILED),
                else_=State.PENDING,
            ),
            claim_token=null(),
            lease_until=null(),
        )
        .returning(
            Task.id, Task.business_id, Task.queue, Task.state, Task.attempts, Task.worker, Task.pid, Task.started_at
        )
        .execution_options(synchronize_session=False)
    ).all()
    if not lost:
        return 0
    now = session.scalar(select(clock()))
    session.execute(insert(Attempt), [_attempt(row, now) for row in lost])
    final = [row.id for row in lost if row.state in FINAL]
    session.execute(update(Task).where(Task.id.in_(final)).values(ended_at=clock()))
    for row in lost:
        if row.state == State.PENDING:
            queue.wake(session, row.business_id, row.queue)
    return len(lost)


def _attempt(row: Row[Any], ended_at: datetime | None) -> dict[str, Any]:
    return {
        "business_id": row.business_id,
        "task_id": row.id,
        "number": row.attempts,
        "outcome": "lost",
        "worker": row.worker,
        "pid": row.pid,
        "started_at": row.started_at,
        "ended_at": ended_at,
        "error": LOST,
    }
