"""What a worker writes of tasks: claims, ends, heartbeats. Every write but a claim says WHERE claim_token = mine."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Row, Table, and_, exists, insert, null, select, update
from sqlalchemy.orm import Session

from jobs import judge, task_types
from jobs.attempts import Claim, Outcome
from jobs.context import News
from jobs.models import Attempt, Entry, Task
from jobs.states import FINAL, State
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
INTERRUPTED = "interrupted"
_UNCLAIMED: dict[str, Any] = {"claim_token": null(), "lease_until": null()}


@dataclass(frozen=True)
class Ended:
    """An attempt that ended: its outcome, when it began and ended, and what the handler said last."""

    claim: Claim
    outcome: Outcome
    started_at: datetime
    ended_at: datetime
    news: News | None
    pid: int


def claim(
    session: Session, business_id: int, name: str, *, limit: int, worker: str, lease_seconds: float
) -> list[Claim]:
    """Claim the best ready tasks, in order. The pause check and the start are one transaction."""
    token = secrets.token_hex(8)
    best = _best(session, business_id, name, limit)
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
    in_order = sorted(rows, key=lambda row: (-row.priority, row.next_try_at, row.id))
    claims = [_as_claim(row, business_id, slug, emails.get(row.user_id), token) for row in in_order]
    kept = _kept([row.claim_alone for row in in_order])
    give_back(session, claims[kept:])
    return claims[:kept]


def _kept(alone: Sequence[bool]) -> int:
    """How many of the claimed, in order, may run in one batch: one whose last attempt was lost runs alone."""
    return next((max(place, 1) for place, is_alone in enumerate(alone) if is_alone), len(alone))


def any_ready(session: Session, business_id: int, name: str) -> bool:
    """Whether a claim would find something now."""
    return bool(session.scalar(select(exists().where(_ready(session, business_id, name)))))


def still_good(session: Session, business_id: int, claimed: Sequence[Claim]) -> set[int]:
    """Which of these claims are still ours and under no pause."""
    standing = judge.standing(session, business_id)
    rows = session.scalars(
        select(_tasks.c.id).where(
            _tasks.c.id.in_([one.id for one in claimed]),
            _tasks.c.claim_token.in_({one.token for one in claimed}),
            _tasks.c.lease_until > clock(),
            ~standing.covering(),
        )
    )
    return set(rows)


def give_back(session: Session, unbegun: Sequence[Claim]) -> None:
    """Return claimed tasks that did not begin. It costs no attempt."""
    for token, claims in _by_token(unbegun):
        _give_back(session, _held(token, [one.id for one in claims]))


def give_back_of(session: Session, worker: str, pid: int) -> None:
    """Return all that a process had claimed and not begun."""
    _give_back(session, _of(worker, pid))


def record(session: Session, ended: Sequence[Ended], worker: str) -> None:
    """Write how attempts ended. One that was taken away meanwhile is dropped."""
    if not ended:
        return
    tell(session, [(one.claim, one.news) for one in ended if one.news])
    moved: dict[int, State] = {}
    for _, group in itertools.groupby(sorted(ended, key=_alike), key=_alike):
        moved |= _move(session, list(group))
    rows = [_attempt(one, worker, moved[one.claim.id]) for one in ended if one.claim.id in moved]
    if rows:
        session.execute(insert(Attempt.__table__), rows)  # type: ignore[arg-type]


def tell(session: Session, news: Sequence[tuple[Claim, News]]) -> None:
    """Write what handlers said: log lines, steps, progress."""
    for one, said in news:
        mine = session.execute(
            update(_tasks)
            .where(_tasks.c.id == one.id, _tasks.c.claim_token == one.token)
            .values(progress_done=said.done, progress_total=said.total, step=said.step)
        )
        if mine.rowcount and said.lines:  # type: ignore[attr-defined]
            about = {"business_id": one.business_id, "task_id": one.id, "attempt": one.attempt}
            session.execute(insert(Entry.__table__), [{**about, **vars(line)} for line in said.lines])  # type: ignore[arg-type]


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


def _ready(session: Session, business_id: int, name: str) -> ColumnElement[bool]:
    """True of what may start now: pending, due, of a type known here, and under no pause."""
    standing = judge.standing(session, business_id)
    ready = and_(
        Task.business_id == business_id,
        Task.queue == name,
        Task.stands(State.PENDING),
        Task.next_try_at <= clock(),
        Task.task_type.in_([one.name for one in task_types.all_types() if one.queue == name]),
    )
    return and_(ready, ~standing.covering()) if standing.pauses else ready


def _best(session: Session, business_id: int, name: str, limit: int) -> CTE:
    """The ids of the ready tasks to claim, locked, passing over those that another worker claims right now."""
    return (
        select(_tasks.c.id)
        .where(_ready(session, business_id, name))
        .order_by(*Task.claim_order())
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("best")
        .prefix_with("MATERIALIZED", dialect="postgresql")  # else a plan may run it again and claim more than `limit`
    )


def _as_claim(row: Row[Any], business_id: int, business: str, user: str | None, token: str) -> Claim:
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
    )


def _names(session: Session, business_id: int, user_ids: set[int | None]) -> tuple[str, dict[int | None, str]]:
    slug = session.scalar(select(Business.slug).where(Business.id == business_id))
    users = session.execute(select(User.id, User.email).where(User.id.in_(user_ids - {None})))
    return str(slug), {row.id: row.email for row in users}


def _alike(one: Ended) -> tuple[str, str, str, float]:
    return one.claim.token, one.outcome.state, one.outcome.kind, one.outcome.retry_seconds


def _move(session: Session, alike: list[Ended]) -> dict[int, State]:
    """Give these tasks their next state; answer the new state of those whose attempt was still ours."""
    outcome, held_ = alike[0].outcome, _held(alike[0].claim.token, [one.claim.id for one in alike])
    is_lost = outcome.kind == "lost"
    after: dict[str, Any] = {"state": outcome.state, "claim_alone": is_lost, **_UNCLAIMED}
    if outcome.state in FINAL:
        after |= {"ended_at": clock()}
    elif not is_lost:  # what was lost keeps its place
        after |= {"next_try_at": clock(outcome.retry_seconds)}
    if outcome.state is State.PENDING:
        after |= {"started_at": null()}
    if outcome.state is State.CANCELED:
        after |= {"cause": INTERRUPTED}
    moved = session.scalars(
        update(_tasks).where(held_, _tasks.c.state == State.RUNNING).values(after).returning(_tasks.c.id)
    )
    found = dict.fromkeys(moved, outcome.state)
    return found if len(found) == len(alike) else found | _cancel(session, held_)


def _cancel(session: Session, where: ColumnElement[bool], **values: Any) -> dict[int, State]:
    """An interrupt that was accepted wins over whatever the handler did."""
    canceled = session.scalars(
        update(_tasks)
        .where(where, _tasks.c.state == State.CANCELLING)
        .values(state=State.CANCELED, ended_at=clock(), **_UNCLAIMED, **values)
        .returning(_tasks.c.id)
    )
    return dict.fromkeys(canceled, State.CANCELED)


def _give_back(session: Session, where: ColumnElement[bool]) -> None:
    unbegun = {"attempts": _tasks.c.attempts - 1, "started_at": null()}
    _cancel(session, where, **unbegun)
    session.execute(
        update(_tasks)
        .where(where, _tasks.c.state == State.RUNNING)
        .values(state=State.PENDING, **unbegun, **_UNCLAIMED)
    )


def _held(token: str, ids: list[int]) -> ColumnElement[bool]:
    """True of these tasks while the attempt is ours."""
    return and_(_tasks.c.id.in_(ids), _tasks.c.claim_token == token)


def _of(worker: str, pid: int) -> ColumnElement[bool]:
    """True of what this process has claimed: found through the index of leases, which is small."""
    return and_(_tasks.c.lease_until.is_not(None), _tasks.c.worker == worker, _tasks.c.pid == pid)


def _attempt(one: Ended, worker: str, state: State) -> dict[str, Any]:
    return {
        "business_id": one.claim.business_id,
        "task_id": one.claim.id,
        "number": one.claim.attempt,
        "outcome": "canceled" if state is State.CANCELED else one.outcome.kind,
        "worker": worker,
        "pid": one.pid,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "result": one.outcome.result,
        "error": one.outcome.error,
        "traceback": one.outcome.traceback,
    }


def _by_token(claims: Sequence[Claim]) -> list[tuple[str, list[Claim]]]:
    ordered = sorted(claims, key=lambda one: one.token)
    return [(token, list(group)) for token, group in itertools.groupby(ordered, key=lambda one: one.token)]
