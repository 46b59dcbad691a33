"""What a worker writes of attempts: how they ended and what their handlers said, always WHERE claim_token = mine."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, bindparam, insert, null, text, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from jobs.attempts import Claim, Outcome
from jobs.context import News
from jobs.models import UNGROUPED, Entry, Task
from jobs.states import FINAL, State
from tenants.clock import clock

_tasks: Table = Task.__table__  # type: ignore[assignment]
INTERRUPTED = "interrupted"
UNCLAIMED: dict[str, Any] = {"claim_token": null(), "lease_until": null()}
UNBEGUN: dict[str, Any] = {"started_at": null(), "worker": null(), "pid": null()}  # of what waits, again

# All attempts of a batch as one JSON value: a hundred single INSERTs take PostgreSQL ten times as long.
_INTO = """
    INSERT INTO attempts
    (business_id, task_id, number, outcome, worker, pid, started_at, ended_at, result, error, traceback)
"""
_FROM_SQLITE = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(11)) + " FROM json_each(:rows)"
_FROM_POSTGRESQL = """
    (e->>0)::int, (e->>1)::bigint, (e->>2)::int, e->>3, e->>4, (e->>5)::int, (e->>6)::timestamptz,
    (e->>7)::timestamptz, (e->>8)::json, e->>9, e->>10 FROM json_array_elements(CAST(:rows AS json)) AS e
"""
_INSERT_ATTEMPTS = {
    "sqlite": text(f"{_INTO} SELECT {_FROM_SQLITE}"),
    "postgresql": text(f"{_INTO} SELECT {_FROM_POSTGRESQL}"),
}


@dataclass(slots=True)  # not frozen: that takes three times as long to make, once a task
class Ended:
    """An attempt that ended: its outcome, and when it began and ended, in seconds after its claim."""

    claim: Claim
    outcome: Outcome
    began: float
    ended: float
    pid: int
    news: News | None = None


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
        statement = _INSERT_ATTEMPTS[session.get_bind().dialect.name]
        session.execute(statement, {"rows": json.dumps(rows, ensure_ascii=False)})


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


def held(token: str, ids: list[int]) -> ColumnElement[bool]:
    """True of these tasks while the attempt is ours."""
    return and_(_tasks.c.id.in_(bindparam("ids", ids, expanding=True)), _tasks.c.claim_token == token)


def cancel(session: Session, where: ColumnElement[bool], **values: Any) -> dict[int, State]:
    """An interrupt that was accepted wins over whatever the handler did."""
    canceled = session.scalars(
        update(_tasks)
        .where(where, _tasks.c.state == State.CANCELLING)
        .values(state=State.CANCELED, ended_at=clock(), **UNCLAIMED, **values)
        .returning(_tasks.c.id)
    )
    return dict.fromkeys(canceled, State.CANCELED)


def _alike(one: Ended) -> tuple[str, str, str, float]:
    return one.claim.token, one.outcome.state, one.outcome.kind, one.outcome.retry_seconds


def _move(session: Session, alike: list[Ended]) -> dict[int, State]:
    """Give these tasks their next state; answer the new state of those whose attempt was still ours."""
    outcome, token, ids = alike[0].outcome, alike[0].claim.token, [one.claim.id for one in alike]
    statement = _moving(outcome.state, is_lost=outcome.kind == "lost")
    moved = session.scalars(statement, {"ids": ids, "token": token, "wait": outcome.retry_seconds})
    found = dict.fromkeys(moved, outcome.state)
    return found if len(found) == len(alike) else found | cancel(session, held(token, ids))


@functools.cache
def _moving(state: State, *, is_lost: bool) -> ReturningUpdate[Any]:
    """Built once: every batch runs it."""
    after: dict[str, Any] = {"state": state, "claim_alone": is_lost, **UNCLAIMED}
    if state in FINAL:
        after |= {"ended_at": clock()}
    elif not is_lost:  # what was lost keeps its place
        after |= {"next_try_at": clock(bindparam("wait"))}
    if state is State.PENDING:
        after |= UNBEGUN
    if state is State.CANCELED:
        after |= {"cause": INTERRUPTED}
    if state is State.FAILED:
        after |= {"failure_id": UNGROUPED}
    ours = and_(_tasks.c.id.in_(bindparam("ids", expanding=True)), _tasks.c.claim_token == bindparam("token"))
    return update(_tasks).where(ours, _tasks.c.state == State.RUNNING).values(after).returning(_tasks.c.id)


def _attempt(one: Ended, worker: str, state: State) -> list[Any]:
    """A row for `_INSERT_ATTEMPTS`."""
    claim, outcome = one.claim, one.outcome
    return [
        claim.business_id,
        claim.id,
        claim.attempt,
        "canceled" if state is State.CANCELED else outcome.kind,
        worker,
        one.pid,
        _as_text(claim.claimed_at, one.began),
        _as_text(claim.claimed_at, one.ended),
        None if outcome.result is None else json.dumps(outcome.result),
        outcome.error,
        outcome.traceback,
    ]


def _as_text(claimed_at: datetime, seconds: float) -> str:
    """A time as SQLite stores it; PostgreSQL reads it in the session's zone, which is UTC."""
    at = (claimed_at + timedelta(seconds=seconds)).replace(tzinfo=None)
    return at.isoformat(" ", "microseconds")
