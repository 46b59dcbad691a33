"""What a worker takes and gives back: claims and their heartbeats. `jobs.records` writes how they ended."""

from __future__ import annotations

import functools
import itertools
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, bindparam, exists, func, select, type_coerce, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import NullType

from jobs import judge, levels, limits, records, settling
from jobs.attempts import Claim
from jobs.judge import Standing, Target
from jobs.levels import Level
from jobs.models import Entry, Task
from jobs.states import State
from tenants.clock import clock
from tenants.models import Business, User

# Tables, not classes: the claim path makes no ORM objects.
_tasks: Table = Task.__table__  # type: ignore[assignment]
_COLUMNS = "id user_id task_type attempts max_attempts priority timeout_seconds claim_alone".split()
# These as the driver gives them: reading a hundred of them costs more than the statement, and holds SQLite's lock.
_RAW = [type_coerce(_tasks.c[name], NullType()).label(name) for name in ("payload", "next_try_at", "started_at")]
_CLAIMED = [*(_tasks.c[name] for name in _COLUMNS), *_RAW]
_OF = {
    "only": _tasks.c.id == bindparam("only"),
    "level": _tasks.c.priority == bindparam("level"),
    "rest": _tasks.c.priority < bindparam("level"),
}
_Asked = tuple[tuple[str, ...], tuple[Target, ...]]  # the types and the pauses of a claim


@dataclass
class Names:
    """What handlers are told of whom they work for: short names of businesses, e-mail addresses of users, by id."""

    businesses: dict[int, str] = field(default_factory=dict)
    users: dict[int | None, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What a transaction has claimed, in order, still as rows: SQLite's one lock is given back before they are read."""

    rows: Sequence[Row[Any]]
    business_id: int
    names: Names
    token: str
    learned: float
    lines: Mapping[int, int]

    def types(self) -> set[str]:
        """The task types of it."""
        return {row.task_type for row in self.rows}

    def claims(self) -> list[Claim]:
        """All of it, to be worked on."""
        lines, about = self.lines, (self.business_id, self.names, self.token, self.learned)
        return [_as_claim(row, *about, lines=lines.get(row.id, 0)) for row in self.rows]


def claim(session: Session, business_id: int, name: str, **about: Any) -> list[Claim]:
    """What `take` claims, read at once."""
    taken = take(session, business_id, name, **about)
    return taken.claims() if taken else []


def take(
    session: Session,
    business_id: int,
    name: str,
    *,
    limit: int,
    worker: str,
    lease_seconds: float,
    only: int | None = None,
    names: Names | None = None,
) -> Taken | None:
    """Claim the best ready tasks, in order; with `only`, none but that one. None: there was nothing.

    The pause check and the start are one transaction. `names` are those that earlier claims of a turn looked up.
    """
    now = judge.standing(session, business_id)
    if now.ended or limits.any_of(name, now):
        judge.one_at_a_time(session, business_id)
    types = limits.open_types(session, business_id, name, now)
    if not types:
        return None
    if now.ended:
        settling.bring_back(session, business_id, now, _ready(business_id, name, types), limit)
    token = secrets.token_hex(8)
    mine = {"token": token, "lease": lease_seconds, "by": worker, "process": os.getpid()}
    about = {"business": business_id, "name": name, "limit": limit, "only": only, **mine}
    asked = tuple(types), tuple(now.pauses.values())
    if only is None:
        rows = _best(session, asked, levels.due(session, business_id, name), about)
    else:
        rows = [*session.connection().execute(_claiming(*asked, "only"), about)]
    learned = time.monotonic()  # before anything else is asked: `started_at` is the database's time of now
    if not rows:
        return None
    names = names or Names()
    look_up(session, business_id, {row.user_id for row in rows}, names)
    lines = _lines(session, business_id, [row.id for row in rows if row.attempts > 1])
    in_order = sorted(rows, key=lambda row: (-row.priority, row.next_try_at, row.id))
    kept = _kept([row.claim_alone for row in in_order])
    if kept < len(in_order):
        _give_back(session, records.held(token, [row.id for row in in_order[kept:]]))
    return Taken(in_order[:kept], business_id, names, token, learned, lines)


def ask(session: Session, business_id: int, name: str) -> None:
    """All that a claim sends, where nothing is to be claimed: the statement that writes, too."""
    now = judge.standing(session, business_id)
    types = limits.open_types(session, business_id, name, now)
    levels.due(session, business_id, name)
    about = {
        "business": business_id,
        "name": name,
        "limit": 1,
        "only": None,
        "token": "",
        "lease": 0.0,
        "by": "",
        "process": 0,
    }
    _best(session, (tuple(types), tuple(now.pauses.values())), [Level(0)], about)


def _kept(alone: Sequence[bool]) -> int:
    """How many of the claimed, in order, may run in one batch: one whose last attempt was lost runs alone."""
    return next((max(place, 1) for place, is_alone in enumerate(alone) if is_alone), len(alone))


def any_ready(session: Session, business_id: int, name: str) -> bool:
    """Whether a claim would find something now."""
    now = judge.standing(session, business_id)
    types = limits.open_types(session, business_id, name, now)
    if not types:
        return False
    ready = _ready(business_id, name, types)
    for level in levels.due(session, business_id, name):
        pending = exists().where(now.sparing(), ready, Task.stands(State.PENDING), level.holds())
        if session.scalar(select(pending)):
            return True
    return settling.is_any_back(session, business_id, now, ready)


def still_good(session: Session, business_id: int, claimed: Sequence[Claim]) -> set[int]:
    """Which of these claims are still ours and under no pause."""
    standing = judge.standing(session, business_id)
    rows = session.scalars(
        select(_tasks.c.id).where(
            _tasks.c.id.in_([one.id for one in claimed]),
            _tasks.c.claim_token.in_({one.token for one in claimed}),
            _tasks.c.lease_until > clock(),
            _tasks.c.state == State.RUNNING,  # an interrupt may have come: then it never begins
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
    return _as_claim(row, row.business_id, Names(), row.claim_token, time.monotonic()) if row else None


def _ready(business_id: Any, name: Any, types: Sequence[str]) -> ColumnElement[bool]:
    """True of what is due, of one of these types."""
    return and_(
        Task.business_id == business_id,
        Task.queue == name,
        Task.next_try_at <= levels.now(),
        Task.task_type.in_(types),
    )


def _best(session: Session, asked: _Asked, due: Sequence[Level], about: dict[str, Any]) -> list[Row[Any]]:
    """Claim at one level after the other until there are enough."""
    rows: list[Row[Any]] = []
    for level in due:
        here = {**about, "level": level.priority, "limit": about["limit"] - len(rows)}
        # Not the session's: it would find out each time what an UPDATE means for its objects, and compile it anew.
        rows += session.connection().execute(_claiming(*asked, "rest" if level.is_rest else "level"), here).all()
        if len(rows) == about["limit"]:
            break
    return rows


@functools.lru_cache(maxsize=64)
def _claiming(types: tuple[str, ...], held: tuple[Target, ...], of: str) -> ReturningUpdate[Any]:
    """The claim under these pauses. Building it takes as long as running it, and a turn runs the same many times."""
    # The pauses first: SQLite judges in this order, and may have to pass over many tasks that are held.
    ready = [Standing(dict(enumerate(held))).sparing(), Task.stands(State.PENDING)]
    ready += [_ready(bindparam("business"), bindparam("name"), types)]
    best = (
        select(_tasks.c.id)
        .where(*ready, _OF[of])
        .order_by(*Task.claim_order())
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)  # pass over those that another worker claims right now
        .cte("best")
        .prefix_with("MATERIALIZED", dialect="postgresql")  # else a plan may run it again and claim more than `limit`
    )
    return (
        update(_tasks)
        .where(_tasks.c.id.in_(select(best.c.id)))
        .values(
            state=State.RUNNING,
            attempts=_tasks.c.attempts + 1,
            claim_token=bindparam("token"),
            lease_until=clock(bindparam("lease")),
            started_at=clock(),
            worker=bindparam("by"),
            pid=bindparam("process"),
        )
        .returning(*_CLAIMED)
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


def _as_claim(row: Row[Any], business_id: int, names: Names, token: str, learned: float, *, lines: int = 0) -> Claim:
    return Claim(
        id=row.id,
        business_id=business_id,
        business=names.businesses.get(business_id, ""),
        user=names.users.get(row.user_id),
        task_type=row.task_type,
        payload=_as_payload(row.payload),
        attempt=row.attempts,
        max_attempts=row.max_attempts,
        token=token,
        claimed_at=_as_time(row.started_at),
        timeout_seconds=row.timeout_seconds,
        lines=lines,
        monotonic=learned,
    )


def _as_payload(raw: dict[str, Any] | str) -> dict[str, Any]:
    """As SQLite stores it, or as psycopg has read it."""
    return json.loads(raw) if isinstance(raw, str) else raw


@functools.lru_cache(maxsize=8)
def _as_time(raw: datetime | str) -> datetime:
    """The time that all tasks of a batch were claimed at."""
    time = datetime.fromisoformat(raw) if isinstance(raw, str) else raw
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def look_up(session: Session, business_id: int, user_ids: set[int | None], known: Names) -> None:
    """Add the names that are not known yet."""
    if business_id not in known.businesses:
        known.businesses[business_id] = str(session.scalar(select(Business.slug).where(Business.id == business_id)))
    if new := user_ids - known.users.keys() - {None}:
        users = session.execute(select(User.id, User.email).where(User.id.in_(new)))
        known.users.update(users.tuples().all())


def _give_back(session: Session, where: ColumnElement[bool]) -> None:
    unbegun = {"attempts": _tasks.c.attempts - 1, **records.UNBEGUN}
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
