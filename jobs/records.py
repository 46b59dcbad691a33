"""What a worker writes of attempts: how they ended and what their handlers said, always WHERE claim_token = mine."""

from __future__ import annotations

import collections
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, insert, literal, null, text, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from jobs.attempts import Claim, Outcome
from jobs.context import News
from jobs.models import UNGROUPED, Entry, Task
from jobs.states import FINAL, State
from tenants.clock import clock
from tenants.database import table
from tenants.within import Numbers, within

_tasks, _entries = table(Task), table(Entry)
_IDS = Numbers(BigInteger())
INTERRUPTED = "interrupted"
UNCLAIMED: dict[str, Any] = {"claim_token": null(), "lease_until": null()}
UNBEGUN: dict[str, Any] = {"started_at": null(), "worker": null(), "pid": null()}  # of what waits, again

# All attempts of a batch as one JSON value: a hundred single INSERTs take PostgreSQL ten times as long.
_INTO = """
    INSERT INTO attempts
    (business_id, task_id, number, outcome, worker, pid, started_at, ended_at, result, error, traceback)
"""
_EACH = [f"json_extract(value, '$[{place}]')" for place in range(10)]
_FROM_SQLITE = ", ".join([*_EACH[:4], ":worker", *_EACH[4:]]) + " FROM json_each(:rows)"
_FROM_POSTGRESQL = """
    (e->>0)::int, (e->>1)::bigint, (e->>2)::int, e->>3, :worker, (e->>4)::int, (e->>5)::timestamptz,
    (e->>6)::timestamptz, (e->>7)::json, e->>8, e->>9 FROM json_array_elements(CAST(:rows AS json)) AS e
"""
_INSERT_ATTEMPTS = {
    "sqlite": text(f"{_INTO} SELECT {_FROM_SQLITE}"),
    "postgresql": text(f"{_INTO} SELECT {_FROM_POSTGRESQL}"),
}


@dataclass(slots=True)  # not frozen: that takes three times as long to make, once a task
class Ended:
    """An attempt that ended: its outcome, and when it began and ended, in seconds after its claim.

    `row` is its row, made here: `record` has SQLite's one lock, and whoever else wants to write waits for it.
    """

    claim: Claim
    outcome: Outcome
    began: float
    ended: float
    pid: int
    news: News | None = None
    row: list[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.row = _row(self, self.outcome.kind)


def record(session: Session, ended: Sequence[Ended], worker: str) -> None:
    """Write how attempts ended. One that was taken away meanwhile is dropped."""
    if not ended:
        return
    tell(session, [(one.claim, one.news) for one in ended if one.news])
    moved: dict[int, State] = {}
    for alike in _grouped(ended):
        moved |= _move(session, alike)
    rows = [_as_moved(one, moved[one.claim.id]) for one in ended if one.claim.id in moved]
    if rows:
        statement = _INSERT_ATTEMPTS[session.get_bind().dialect.name]
        session.execute(statement, {"rows": json.dumps(rows, ensure_ascii=False), "worker": worker})


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
            session.execute(insert(_entries), [{**about, **vars(line)} for line in said.lines])


def held(token: str, ids: list[int]) -> ColumnElement[bool]:
    """True of these tasks while the attempt is ours."""
    return and_(within(_tasks.c.id, literal(ids, _IDS)), _tasks.c.claim_token == token)


def cancel(session: Session, where: ColumnElement[bool], **values: Any) -> dict[int, State]:
    """An interrupt that was accepted wins over whatever the handler did."""
    canceled = session.scalars(
        update(_tasks)
        .where(where, _tasks.c.state == State.CANCELLING)
        .values(state=State.CANCELED, ended_at=clock(), **UNCLAIMED, **values)
        .returning(_tasks.c.id)
    )
    return dict.fromkeys(canceled, State.CANCELED)


def _grouped(ended: Sequence[Ended]) -> Iterable[list[Ended]]:
    """Those that one statement can write."""
    groups = collections.defaultdict(list)
    for one in ended:
        groups[one.claim.token, one.outcome.state, one.outcome.kind, one.outcome.retry_seconds].append(one)
    return groups.values()


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
    ours = and_(within(_tasks.c.id, bindparam("ids", type_=_IDS)), _tasks.c.claim_token == bindparam("token"))
    return update(_tasks).where(ours, _tasks.c.state == State.RUNNING).values(after).returning(_tasks.c.id)


def _as_moved(one: Ended, state: State) -> list[Any]:
    """Its row; an interrupt that came first says how it ended."""
    was_canceled = state is State.CANCELED and one.outcome.kind != "canceled"
    return _row(one, "canceled") if was_canceled else one.row


def _row(one: Ended, kind: str) -> list[Any]:
    """A row for `_INSERT_ATTEMPTS`."""
    claim, outcome = one.claim, one.outcome
    return [
        claim.business_id,
        claim.id,
        claim.attempt,
        kind,
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
