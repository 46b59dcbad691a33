"""Attempts that were lost: a task whose process disappeared goes back, or fails after its last attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, insert, null, select, update
from sqlalchemy.orm import Session

from jobs import claims, queue, records
from jobs.attempts import Claim, Outcome
from jobs.models import UNGROUPED, Attempt, Task
from jobs.records import Ended
from jobs.states import FINAL, State
from tenants.clock import clock
from tenants.within import found_by

CHUNK = 1000  # attempts taken away in one transaction: a statement of PostgreSQL has 65,535 values at most
LOST = "The worker disappeared: its lease ran out."


@dataclass(frozen=True)
class Dead:
    """A process that died at work: what it had ended, the attempt it ran, and the outcome of that."""

    worker: str
    pid: int
    ended: Sequence[Ended]
    running: tuple[int, int] | None
    outcome: Callable[[Claim], Outcome]


def bury(session: Session, dead: Dead) -> None:
    """Write what a dead process had ended, end the attempt that it ran, give back what it had not begun."""
    ended, written = list(dead.ended), {(one.claim.id, one.claim.attempt) for one in dead.ended}
    if dead.running and dead.running not in written:
        claim = claims.held(session, dead.worker, dead.pid, *dead.running)
        now = session.scalar(select(clock()))
        if claim and now:
            took = (now - claim.claimed_at).total_seconds()
            ended.append(Ended(claim, dead.outcome(claim), 0.0, took, dead.pid))
    records.record(session, ended, dead.worker)
    claims.give_back_of(session, dead.worker, dead.pid)


def reap(session: Session) -> int:
    """Take away attempts whose lease ran out, up to a chunk, and write them down as lost; answer how many.

    One compare-and-set: selecting first and updating later would overwrite what finished in between. What a worker
    writes at this moment is passed over, so that the two never wait for each other.
    """
    held = (State.RUNNING, State.CANCELLING)
    over = (
        select(Task.id)
        .where(Task.lease_until.is_not(None), Task.lease_until < clock(), Task.state.in_(held))
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
        .cte("over")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    lost = session.execute(
        update(Task)
        .where(found_by(Task.id, select(over.c.id)))
        .values(
            state=case(
                (Task.state == State.CANCELLING, State.CANCELED),
                (Task.attempts >= Task.max_attempts, State.FAILED),
                else_=State.PENDING,
            ),
            claim_token=null(),
            lease_until=null(),
            claim_alone=True,
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
    failed = [row.id for row in lost if row.state == State.FAILED]
    session.execute(update(Task).where(Task.id.in_(failed)).values(failure_id=UNGROUPED))
    back = [row.id for row in lost if row.state == State.PENDING]
    session.execute(update(Task).where(Task.id.in_(back)).values(records.UNBEGUN))
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
