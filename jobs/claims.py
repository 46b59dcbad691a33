"""What a worker takes and gives back: claims and their heartbeats. `jobs.records` writes how they ended."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Row, Table, and_, exists, func, null, select, update
from sqlalchemy.orm import Session

from jobs import judge, limits, records, settling
from jobs.attempts import Claim
from jobs.models import Entry, Task
from jobs.states import State
from tenants.clock import clock
from tenants.models import Business, User

# Tables, not classes: the claim path makes no ORM objects.
_tasks: Table = Task.__table__  # type: ignore[assignment]
_CLAIMED = [
    _tasks.c[name]
    for name in (
        "id",
        "user_id",
        "task_type",
        "payload",
        "attempts",
        "max_attempts",
        "started_at",
        "priority",
        "next_try_at",
        "timeout_seconds",
        "claim_alone",
    )
]


def claim(
    session: Session,
    business_id: int,
    name: str,
    *,
    limit: int,
    worker: str,
    lease_seconds: float,
    only: int | None = None,
) -> list[Claim]:
    """Claim the best ready tasks, in order; with `only`, none but that one.

    The pause check and the start are one transaction.
    """
    now = judge.standing(session, business_id)
    if now.ended or limits.any_of(name, now):
        judge.one_at_a_time(session, business_id)
    types = limits.open_types(session, business_id, name, now)
    if not types:
        return []
    ready = _ready(business_id, name, types)
    settling.bring_back(session, business_id, now, ready, limit)
    token = secrets.token_hex(8)
    wanted = [now.sparing(), ready, Task.stands(State.PENDING)]
    best = _best(and_(*wanted, *([] if only is None else [_tasks.c.id == only])), limit)
    rows = session.execute(
        update(_tasks)
        .where(_tasks.c.id.in_(select(best.c.id)))
        .values(
            state=State.RUNNING,
            attempts=_tasks.c.attempts + 1,
            claim_token=token,
            lease_until=clock(lease_seconds),
            started_at=clock(),
            worker=worker,
            pid=os.getpid(),
        )
        .returning(*_CLAIMED)
    ).all()
    if not rows:
        return []
    slug, emails = _names(session, business_id, {row.user_id for row in rows})
    lines = _lines(session, business_id, [row.id for row in rows if row.attempts > 1])
    in_order = sorted(rows, key=lambda row: (-row.priority, row.next_try_at, row.id))
    claims = [
        _as_claim(row, business_id, slug, emails.get(row.user_id), token, lines=lines.get(row.id, 0))
        for row in in_order
    ]
    kept = _kept([row.claim_alone for row in in_order])
    give_back(session, claims[kept:])
    return claims[:kept]


def _kept(alone: Sequence[bool]) -> int:
    """How many of the claimed, in order, may run in one batch: one whose last attempt was lost runs alone."""
    return next((max(place, 1) for place, is_alone in enumerate(alone) if is_alone), len(alone))


def any_ready(session: Session, business_id: int, name: str) -> bool:
    """Whether a claim would find something now."""
    now = judge.standing(session, business_id)
    types = limits.open_types(session, business_id, name, now)
    ready = and_(now.sparing(), _ready(business_id, name, types))
    states = [
        Task.stands(State.PENDING),
        *(and_(Task.stands(State.PAUSED), one.covering()) for one in now.ended.values()),
    ]
    return bool(types) and any(session.scalar(select(exists().where(ready, state))) for state in states)


def still_good(session: Session, business_id: int, claimed: Sequence[Claim]) -> set[int]:
    """Which of these claims are still ours and under no pause."""
    standing = judge.standing(session, business_id)
    rows = session.scalars(
        select(_tasks.c.id).where(
            _tasks.c.id.in_([one.id for one in claimed]),
            _tasks.c.claim_token.in_({one.token for one in claimed}),
            _tasks.c.lease_until > clock(),
            standing.sparing(),
        )
    )
    return set(rows)


def give_back(session: Session, unbegun: Sequence[Claim]) -> None:
    """Return claimed tasks that did not begin. It costs no attempt."""
    for token, claims in _by_token(unbegun):
        _give_back(session, records.held(token, [one.id for one in claims]))


def give_back_of(session: Session, worker: str, pid: int) -> None:
    """Return all that a process had claimed and not begun."""
    _give_back(session, _of(worker, pid))


def renew(session: Session, worker: str, pid: int, lease_seconds: float) -> dict[int, State]:
    """The heartbeat of a process: of all that it has claimed. Answers the state of each of these tasks."""
    rows = session.execute(
        update(_tasks)
        .where(_of(worker, pid))
        .values(lease_until=clock(lease_seconds))
        .returning(_tasks.c.id, _tasks.c.state)
    )
    return {id_: State(state) for id_, state in rows}


def held(session: Session, worker: str, pid: int, task_id: int, attempt: int) -> Claim | None:
    """The claim of a task that this process runs; None if it was taken away."""
    row = session.execute(
        select(*_CLAIMED, _tasks.c.business_id, _tasks.c.claim_token).where(
            _of(worker, pid), _tasks.c.id == task_id, _tasks.c.attempts == attempt
        )
    ).one_or_none()
    return _as_claim(row, row.business_id, "", None, row.claim_token) if row else None


def _ready(business_id: int, name: str, types: Sequence[str]) -> ColumnElement[bool]:
    """True of what is due, of one of these types."""
    return and_(
        Task.business_id == business_id, Task.queue == name, Task.next_try_at <= clock(), Task.task_type.in_(types)
    )


def _best(ready: ColumnElement[bool], limit: int) -> CTE:
    """The ids of the ready tasks to claim, locked, passing over those that another worker claims right now."""
    return (
        select(_tasks.c.id)
        .where(ready)
        .order_by(*Task.claim_order())
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("best")
        .prefix_with("MATERIALIZED", dialect="postgresql")  # else a plan may run it again and claim more than `limit`
    )


def _lines(session: Session, business_id: int, ids: Sequence[int]) -> dict[int, int]:
    """How much the earlier attempts of these tasks wrote. Who writes much is slow, so a batch holds few of those."""
    if not ids:
        return {}
    counted = session.execute(
        select(Entry.task_id, func.count())
        .where(Entry.business_id == business_id, Entry.task_id.in_(ids), Entry.kind != "event")
        .group_by(Entry.task_id)
    )
    return dict(counted.tuples().all())


def _as_claim(row: Row[Any], business_id: int, business: str, user: str | None, token: str, *, lines: int = 0) -> Claim:
    return Claim(
        id=row.id,
        business_id=business_id,
        business=business,
        user=user,
        task_type=row.task_type,
        payload=row.payload,
        attempt=row.attempts,
        max_attempts=row.max_attempts,
        token=token,
        claimed_at=row.started_at,
        timeout_seconds=row.timeout_seconds,
        lines=lines,
    )


def _names(session: Session, business_id: int, user_ids: set[int | None]) -> tuple[str, dict[int | None, str]]:
    slug = session.scalar(select(Business.slug).where(Business.id == business_id))
    users = session.execute(select(User.id, User.email).where(User.id.in_(user_ids - {None})))
    return str(slug), {row.id: row.email for row in users}


def _give_back(session: Session, where: ColumnElement[bool]) -> None:
    unbegun = {"attempts": _tasks.c.attempts - 1, "started_at": null()}
    records.cancel(session, where, **unbegun)
    session.execute(
        update(_tasks)
        .where(where, _tasks.c.state == State.RUNNING)
        .values(state=State.PENDING, **unbegun, **records.UNCLAIMED)
    )


def _of(worker: str, pid: int) -> ColumnElement[bool]:
    """True of what this process has claimed: found through the index of leases, which is small."""
    return and_(_tasks.c.lease_until.is_not(None), _tasks.c.worker == worker, _tasks.c.pid == pid)


def _by_token(claims: Sequence[Claim]) -> list[tuple[str, list[Claim]]]:
    ordered = sorted(claims, key=lambda one: one.token)
    return [(token, list(group)) for token, group in itertools.groupby(ordered, key=lambda one: one.token)]
