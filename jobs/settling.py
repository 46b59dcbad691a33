"""Settling: marking what the registry of pauses holds as Paused, and unmarking what it no longer holds.

The mark only keeps such rows out of the way of claims. So what stands before others is marked first, and a claim
unmarks what it needs of an ended pause by itself; the rest is done in chunks, when it is done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import BigInteger, ColumnElement, Row, Select, literal, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import judge, levels, queue, task_types
from jobs.judge import Standing, Target
from jobs.models import Pause, Task
from jobs.states import State
from tenants.clock import clock
from tenants.database import on_commit, table, transaction, unindexed
from tenants.models import Business
from tenants.within import Numbers, found_by, within

_tasks = table(Task)
log = structlog.get_logger()

ANSWER_SECONDS = judge.CLAIM_VALID_SECONDS + 0.010  # so nothing begins any more when a pause answers
CHUNK = 1000  # rows settled in one transaction
_FIRST_CHUNK = 50  # the same while somebody waits for the answer: larger ones kept it waiting on a busy PostgreSQL
_AT_ONCE_SECONDS = 0.05  # spent on settling before the answer; the beat does the rest
IN_ANY_QUEUE = _tasks.c.queue > ""  # the index's second column: else SQLite may take another index
_GAP_SECONDS = 0.01  # between two chunks, and as long as a chunk took: else claims on SQLite wait for all of them


def settle(session: Session, business_id: int, chunk: int = CHUNK) -> int:
    """Set aside what is paused at the head of the queues, bring back what no longer is; answer the rows moved.

    Idempotent: the registry is the truth and `paused` only a mark, so that claims need not wade through such rows.
    """
    judge.let_claims_pass(session, business_id)
    now = judge.standing(session, business_id)
    moved = sum(_set_aside(session, business_id, name, now, chunk) for name in task_types.queues() if now.pauses)
    if now.ended:
        judge.one_at_a_time(session, business_id)  # a claim would pass over the rows that are locked here
    for id_, target in now.ended.items():
        left = (
            select(_tasks.c.id).where(*_marked(business_id, target, now)).order_by(_tasks.c.queue, *Task.claim_order())
        )
        moved += _move(session, left.limit(chunk), State.PENDING)
        if target.business_id is not None and not _is_left(session, business_id, target, now):
            _settled(session, id_)
    return moved


def settle_until(ends_at: float, business_id: int, chunk: int = CHUNK, **options: Any) -> int:
    """Settle chunk after chunk until all is done or it is so late; claims get their turn in between.

    Answers the rows moved.
    """
    total = 0
    while True:
        began = time.monotonic()
        with transaction(**options) as session:
            moved = settle(session, business_id, chunk)
        total += moved
        now = time.monotonic()
        took = now - began
        gap = max(_GAP_SECONDS, took)
        if not moved or now + gap + took >= ends_at:  # the next one takes as long, and somebody may wait
            return total
        time.sleep(gap)


def bring_back(session: Session, business_id: int, now: Standing, ready: ColumnElement[bool], limit: int) -> None:
    """Unmark, in claim order, what a claim of `limit` tasks may need of the pauses that ended."""
    for target in now.ended.values():
        best = select(_tasks.c.id).where(*_marked(business_id, target, now, ready)).order_by(*Task.claim_order())
        _move(session, best.limit(limit), State.PENDING)


def places(
    session: Session, business_id: int, now: Standing, ready: ColumnElement[bool]
) -> list[Row[tuple[datetime, int]]]:
    """Where `bring_back` would find its first tasks, for each pause that ended: when they are due, and their ids."""
    best = [
        select(_tasks.c.next_try_at, _tasks.c.id)
        .where(*_marked(business_id, target, now, ready))
        .order_by(*Task.claim_order())
        for target in now.ended.values()
    ]
    return [row for one in best for row in session.execute(one.limit(1))]


def is_any_back(session: Session, business_id: int, now: Standing, ready: ColumnElement[bool]) -> bool:
    """Whether `bring_back` would find any."""
    return any(_is_left(session, business_id, target, now, ready) for target in now.ended.values())


def finish_system_wide(session: Session) -> None:
    """Note of each ended pause of the whole installation that no business has marked tasks of it any more."""
    ended = session.execute(
        select(Pause.id, Pause.user_id, Pause.task_type).where(
            Pause.settled_at.is_(None), Pause.business_id.is_(None), Pause.ended_at.is_not(None)
        )
    ).all()
    for id_, *what in ended:
        target = Target(None, *what)
        if not any(
            _is_left(session, business_id, target, judge.standing(session, business_id))
            for business_id in _businesses_marked(session, target)
        ):
            _settled(session, id_)


def answer_late_enough(session: Session, business_id: int | None) -> None:
    """Let the commit return when no claim of before it is valid any more; settle while we wait."""

    def note() -> None:
        session.info["pauses answer at"] = time.monotonic() + ANSWER_SECONDS

    def wait() -> None:
        time.sleep(max(0.0, session.info["pauses answer at"] - time.monotonic()))

    on_commit(session, "pauses note", note)
    settle_after_commit(session, business_id)
    on_commit(session, "pauses wait", wait)


def wake_after_commit(session: Session, target: Target) -> None:
    """Queue turns for what an ended pause releases, so that the first tasks start at once."""
    names = task_types.queues()
    for business_id in [target.business_id] if target.business_id else _businesses_marked(session, target):
        for name in names:
            queue.wake(session, business_id, name)


def settle_after_commit(session: Session, business_id: int | None) -> None:
    """Begin to settle at once. The beat does the rest, and that of the whole installation."""

    def act() -> None:
        try:
            settle_until(time.monotonic() + _AT_ONCE_SECONDS, business_id or 0, _FIRST_CHUNK)
        except SQLAlchemyError as error:  # the pause itself is committed: what is left is the beat's
            log.warning("not settled yet", business=business_id, error=str(error))

    if business_id is not None:
        on_commit(session, ("settle", business_id), act)


def _set_aside(session: Session, business_id: int, name: str, now: Standing, chunk: int) -> int:
    """Mark what is paused among the first tasks of a queue: what stands behind them is in nobody's way yet.

    In two steps: with old statistics PostgreSQL would join the head with every waiting task, 9 s for 100,000.
    """
    head = _head(session, business_id, name, chunk)
    covered = _covered(head, now)
    if not covered and any(not is_due for *_, is_due in head):  # claims pass over those, so more heads are in their way
        for level in levels.due(session, business_id, name):
            at_one = _head(session, business_id, name, chunk, level.holds(), _tasks.c.next_try_at <= levels.now())
            covered += _covered(at_one, now)
    if not covered:
        return 0
    these = within(_tasks.c.id, literal(covered, Numbers(BigInteger())))
    return _move(session, select(_tasks.c.id).where(these, unindexed(Task.stands(State.PENDING))), State.PAUSED)


def _head(session: Session, business_id: int, name: str, chunk: int, *where: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """The first tasks of a queue that are like this: each one's id, user, type and whether it is due."""
    query = select(_tasks.c.id, _tasks.c.user_id, _tasks.c.task_type, _tasks.c.next_try_at <= levels.now())
    query = query.where(_tasks.c.business_id == business_id, _tasks.c.queue == name, Task.stands(State.PENDING), *where)
    return session.execute(query.order_by(*Task.claim_order()).limit(chunk)).all()


def _covered(head: Sequence[Row[Any]], now: Standing) -> list[int]:
    return [id_ for id_, user_id, task_type, _ in head if now.over(user_id, task_type)]


def _marked(
    business_id: int, target: Target, now: Standing, where: ColumnElement[bool] = IN_ANY_QUEUE
) -> tuple[ColumnElement[bool], ...]:
    """True of the tasks of an ended pause that are marked still, though no pause holds them any more."""
    return _tasks.c.business_id == business_id, where, Task.stands(State.PAUSED), *_meant(target), now.sparing()


def _meant(target: Target) -> list[ColumnElement[bool]]:
    """`target.covering()` such that only the index of marked tasks fits: those by user or type hold whole histories."""
    about: list[ColumnElement[bool]] = []
    if target.user_id is not None:
        about.append(unindexed(_tasks.c.user_id == target.user_id))
    if target.task_type is not None:
        about.append(unindexed(_tasks.c.task_type == target.task_type))
    return about


def _is_left(
    session: Session, business_id: int, target: Target, now: Standing, where: ColumnElement[bool] = IN_ANY_QUEUE
) -> bool:
    """Whether any is marked still. It sees those, too, that somebody has locked and a move passes over."""
    return bool(session.scalar(select(Task.any_waits(*_marked(business_id, target, now, where)))))


def _settled(session: Session, pause_id: int) -> None:
    """Nothing can be marked for this pause any more: ending it waited for all that might do so."""
    ended = (Pause.id == pause_id, Pause.ended_at.is_not(None))
    session.execute(update(Pause).where(*ended).values(settled_at=clock()))


def _businesses_marked(session: Session, target: Target) -> Sequence[int]:
    marked = Task.any_waits(
        _tasks.c.business_id == Business.id, IN_ANY_QUEUE, Task.stands(State.PAUSED), *_meant(target)
    )
    return session.scalars(select(Business.id).where(marked)).all()


def _move(session: Session, wanted: Select[tuple[int]], state: State) -> int:
    """Move these tasks to the other waiting state, passing over those that somebody else has locked."""
    best = wanted.with_for_update(skip_locked=True).cte("best").prefix_with("MATERIALIZED", dialect="postgresql")
    moved = update(_tasks).where(found_by(_tasks.c.id, select(best.c.id))).values(state=state).returning(_tasks.c.id)
    return len(session.connection().execute(moved).all())
