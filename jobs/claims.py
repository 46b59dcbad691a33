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

from sqlalchemy import ColumnElement, Row, and_, func, select, update
from sqlalchemy.orm import Session

from jobs import judge, levels, limits, picks, records, settling, stretches
from jobs.attempts import Claim
from jobs.levels import Level
from jobs.models import Entry, Task
from jobs.states import State
from jobs.stretches import Passed
from tenants.clock import clock
from tenants.database import table
from tenants.models import Business, User

_tasks, _entries, _businesses, _users = map(table, (Task, Entry, Business, User))


@dataclass
class Names:
    """What handlers are told of whom they work for: short names of businesses, e-mail addresses of users, by id."""

    businesses: dict[int, str] = field(default_factory=dict)
    users: dict[int | None, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What a transaction has claimed, in order, still as rows: SQLite's one lock is given back before they are read.

    No rows: there was nothing as far as it looked, which was not far enough.
    """

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
    """What `take` claims, however far it has to look, read at once."""
    passed = Passed()
    taken = take(session, business_id, name, passed=passed, **about)
    while taken and passed.is_short:
        picks.look_ahead(session, business_id, name, passed)
        taken = take(session, business_id, name, passed=passed, **about)
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
    passed: Passed | None = None,
) -> Taken | None:
    """Claim the best ready tasks, in order; with `only`, none but that one. None: there was nothing.

    The pause check and the start are one transaction. `names` are those that earlier claims of a turn looked up. With
    `passed`, which a turn keeps, it looks no further than a stretch where much is paused (`jobs.stretches`), and may
    find nothing in it.
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
    rows, is_short = picks.pick(session, asked, about, passed)
    learned = time.monotonic()  # before anything else is asked: `started_at` is the database's time of now
    names = names or Names()
    if passed:
        passed.is_short = is_short and not rows
    if not rows:
        return Taken((), business_id, names, token, learned, {}) if is_short else None
    look_up(session, business_id, {row.user_id for row in rows}, names)
    lines = _lines(session, business_id, [row.id for row in rows if row.attempts > 1])
    in_order = sorted(rows, key=lambda row: (-row.priority, row.next_try_at, row.id))
    kept = _kept([row.claim_alone for row in in_order])
    if kept < len(in_order):
        _give_back(session, records.held(token, [row.id for row in in_order[kept:]]))
        if passed:
            passed.forget(asked)
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
    picks.best(session, (tuple(types), tuple(now.pauses.values())), [stretches.whole(Level(0))], about)


def _kept(alone: Sequence[bool]) -> int:
    """How many of the claimed, in order, may run in one batch: one whose last attempt was lost runs alone."""
    return next((max(place, 1) for place, is_alone in enumerate(alone) if is_alone), len(alone))


def any_ready(session: Session, business_id: int, name: str, passed: Passed | None = None) -> bool:
    """Whether a claim would find something now. What a turn has `passed` is not looked at again."""
    now = judge.standing(session, business_id)
    types = limits.open_types(session, business_id, name, now)
    if not types:
        return False
    asked = tuple(types), tuple(now.pauses.values())
    places = passed.places if passed and passed.asked == asked else {}
    if picks.is_any(session, asked, business_id, name, places):
        return True
    return settling.is_any_back(session, business_id, now, _ready(business_id, name, types))


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
        select(*picks.COLUMNS, _tasks.c.business_id, _tasks.c.claim_token).where(
            _of(worker, pid), _tasks.c.id == task_id, _tasks.c.attempts == attempt
        )
    ).one_or_none()
    return _as_claim(row, row.business_id, Names(), row.claim_token, time.monotonic()) if row else None


def _ready(business_id: Any, name: Any, types: Sequence[str]) -> ColumnElement[bool]:
    """True of what is due, of one of these types."""
    return and_(picks.of_types(business_id, name, types), _tasks.c.next_try_at <= levels.now())


def _lines(session: Session, business_id: int, ids: Sequence[int]) -> dict[int, int]:
    """How much the earlier attempts of these tasks wrote. Who writes much is slow, so a batch holds few of those."""
    if not ids:
        return {}
    counted = session.execute(
        select(_entries.c.task_id, func.count())
        .where(_entries.c.business_id == business_id, _entries.c.task_id.in_(ids), _entries.c.kind != "event")
        .group_by(_entries.c.task_id)
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
        slug = select(_businesses.c.slug).where(_businesses.c.id == business_id)
        known.businesses[business_id] = str(session.scalar(slug))
    if new := user_ids - known.users.keys() - {None}:
        users = session.execute(select(_users.c.id, _users.c.email).where(_users.c.id.in_(new)))
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
