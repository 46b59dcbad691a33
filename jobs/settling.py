"""Settling: marking what the registry of pauses holds as Paused, and unmarking what it no longer holds."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import judge, queue, task_types
from jobs.models import Task
from jobs.states import State
from tenants.database import on_commit, transaction

log = structlog.get_logger()

ANSWER_SECONDS = judge.CLAIM_VALID_SECONDS + 0.010  # so nothing begins any more when a pause answers
CHUNK = 1000  # rows settled in one transaction
_AT_ONCE_SECONDS = 0.1  # spent on settling before the answer; the beat does the rest


def settle(session: Session, business_id: int, chunk: int = CHUNK) -> int:
    """Set aside what is paused, bring back what no longer is, in claim order; answer the rows moved.

    Idempotent: the registry is the truth and `paused` only a mark, so that claims need not wade through such rows.
    """
    judge.let_claims_pass(session, business_id)
    now = judge.standing(session, business_id)
    aside = (
        _move(session, business_id, State.PENDING, State.PAUSED, where=now.covering(), chunk=chunk)
        if now.pauses
        else []
    )
    back = _move(session, business_id, State.PAUSED, State.PENDING, where=~now.covering(), chunk=chunk)
    for name in set(back):
        queue.wake(session, business_id, name)
    return len(aside) + len(back)


def answer_late_enough(session: Session, business_id: int | None) -> None:
    """Let the commit return when no claim of before it is valid any more; settle while we wait."""

    def note() -> None:
        session.info["pauses answer at"] = time.monotonic() + ANSWER_SECONDS

    def wait() -> None:
        time.sleep(max(0.0, session.info["pauses answer at"] - time.monotonic()))

    on_commit(session, "pauses note", note)
    after_commit(session, business_id)
    on_commit(session, "pauses wait", wait)


def after_commit(session: Session, business_id: int | None) -> None:
    """Begin to settle at once, so that the first released tasks start at once. The beat does the rest."""

    def act() -> None:
        try:
            until, moved = time.monotonic() + _AT_ONCE_SECONDS, CHUNK
            while moved >= CHUNK and time.monotonic() < until:
                with transaction() as own:
                    moved = settle(own, business_id or 0)
        except SQLAlchemyError as error:  # the pause itself is committed: what is left is the beat's
            log.warning("not settled yet", business=business_id, error=str(error))

    if business_id is not None:
        on_commit(session, ("settle", business_id), act)
        for name in task_types.queues():
            queue.wake(session, business_id, name)


def _move(
    session: Session, business_id: int, old: State, new: State, *, where: ColumnElement[bool], chunk: int
) -> Sequence[str]:
    """Move up to `chunk` tasks between the two waiting states; answer the queue of each."""
    best = (
        select(Task.id)
        .where(Task.business_id == business_id, Task.stands(old), where)
        .order_by(*Task.claim_order())
        .limit(chunk)
        .with_for_update(skip_locked=True)
        .cte("best")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return session.scalars(
        update(Task)
        .where(Task.id.in_(select(best.c.id)))
        .values(state=new)
        .returning(Task.queue)
        .execution_options(synchronize_session=False)
    ).all()
