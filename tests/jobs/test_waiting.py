"""Each waiting task names one main cause, and when it may start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from sqlalchemy import update
from sqlalchemy.orm import Session

from jobs import limits, pauses, queue, services, submit, tasks, waiting
from jobs.judge import Target
from jobs.models import Attempt, Task
from jobs.waiting import Kind, Reason
from tenants.clock import clock
from tenants.database import transaction
from tenants.permissions import Actor
from tests.factories import Cast
from tests.waiting import until
from tests.webapp import rows

BEN = "ben@example.com"
Start = Callable[..., object]


def why(by: Actor, id_: int) -> Reason | None:
    with transaction(read_only=True) as session:
        return waiting.why(session, by, tasks.get(session, by, id_))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody listens."""
    monkeypatch.setattr(services, "queues_heard", lambda _redis: {"default"})


def test_a_pause_comes_first_with_its_end(db: Session, cast: Cast) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    id_ = submit("test.note", business="acme", user=BEN, start_at=ends)
    pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "too loud", until=ends)
    db.commit()
    found = why(cast.ben, id_)
    assert found == Reason(Kind.PAUSE, "Paused by Ada Lovelace: too loud", ends)
    assert found.pause
    assert found.pause.until == ends
    later = ends + timedelta(days=1)
    id_ = submit("test.note", business="acme", user=BEN, start_at=later)
    assert why(cast.ben, id_) == Reason(Kind.PAUSE, "Paused by Ada Lovelace: too loud", later), "not before its time"


def test_of_two_pauses_the_one_that_ends_last_says_when_it_may_start(db: Session, cast: Cast) -> None:
    soon, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))
    id_ = submit("test.note", business="acme", user=BEN)
    pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "too loud", until=later)
    pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "broken", until=soon)
    db.commit()
    assert why(cast.ben, id_) == Reason(Kind.PAUSE, "Paused by Ada Lovelace: too loud (one of 2 pauses)", later)
    pauses.pause(db, cast.ada, Target(cast.acme.id, cast.ben.user.id, "test.note"), "for good")
    db.commit()
    assert why(cast.ben, id_) == Reason(Kind.PAUSE, "Paused by Ada Lovelace: for good (one of 3 pauses)", None)


def test_a_start_time_and_a_retry_name_their_time(db: Session, cast: Cast) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    id_ = submit("test.note", business="acme", user=BEN, start_at=at)
    assert why(cast.ben, id_) == Reason(Kind.START_TIME, "Waits for its start time", at)
    again = rows.task(cast.acme, cast.ben, task_type="test.note", attempts=2, next_try_at=at, max_attempts=3)
    assert why(cast.ben, again) == Reason(Kind.RETRY_DELAY, "Waits for attempt 3 of 3", at)


def test_a_type_that_nobody_registered_and_a_queue_that_nobody_hears(db: Session, cast: Cast) -> None:
    odd = rows.task(cast.acme, cast.ben, task_type="of.yesterday")
    found = why(cast.ben, odd)
    assert found == Reason(Kind.UNKNOWN_TYPE, "No worker knows the task type of.yesterday")
    id_ = submit("test.note", business="acme", user=BEN)
    assert why(cast.ben, id_) == Reason(Kind.NO_WORKER, "No worker listens on the queue default")


def test_a_worker_that_listens_is_seen_and_without_redis_none_is_missed(
    db: Session, cast: Cast, start: Start, valkey: str
) -> None:
    start("worker", "default", "mail")
    with Redis.from_url(valkey) as redis:
        until(lambda: services.queues_heard(redis) == {"default", "mail"})
    queue.connect("redis://127.0.0.1:1")
    id_ = rows.task(cast.acme, cast.ben, task_type="test.note", next_try_at=clock(-5))
    assert services.queues_heard(queue.connection()) is None
    found = why(cast.ben, id_)
    queue.connect(valkey)
    assert found is None or found.kind is Kind.ORDER


@pytest.mark.usefixtures("heard")
def test_a_limit_of_the_business_or_of_the_type(db: Session, cast: Cast) -> None:
    limits.set(db, cast.root, cast.acme.id, 1)
    limits.set(db, cast.root, cast.acme.id, 0, "test.other")
    db.commit()
    id_, other = (submit(name, business="acme", user=BEN) for name in ("test.note", "test.other"))
    found = [why(cast.ben, other), why(cast.ben, id_)]
    rows.task(cast.acme, cast.ben, "running", task_type="test.note")
    found.append(why(cast.ben, id_))
    assert [one.kind for one in found if one] == [Kind.LIMIT, Kind.ORDER, Kind.LIMIT]
    assert "of this type" in str(found[0])
    assert "in this business" in str(found[2])


@pytest.mark.usefixtures("heard")
def test_else_it_stands_in_line_and_the_pace_tells_when_it_starts(db: Session, cast: Cast) -> None:
    ids = [submit("test.note", business="acme", user=BEN, priority=priority) for priority in (0, 5, 0)]
    submit("test.note", business="initech", priority=9)
    told = [why(cast.ben, id_) for id_ in ids]
    assert [one.text for one in told if one] == ["1 task goes first", "It is the next one", "2 tasks go first"]
    assert [one.starts_at for one in told if one] == [None] * 3, "nobody knows"
    done = rows.task(cast.acme, cast.ben, "completed", attempts=4)
    now = datetime.now(UTC)
    about = {"business_id": cast.acme.id, "task_id": done, "outcome": "retry", "started_at": now}
    db.add_all([Attempt(number=n, ended_at=now - timedelta(seconds=10 * (6 - n)), **about) for n in range(2, 6)])
    db.execute(update(Attempt).where(Attempt.number == 1).values(ended_at=now - timedelta(seconds=50)))
    db.commit()
    found = why(cast.ben, ids[2])
    assert found
    assert found.starts_at
    assert 20 < (found.starts_at - now).total_seconds() < 40


def test_what_does_not_wait_has_no_cause(db: Session, cast: Cast) -> None:
    for state in ("running", "completed", "failed", "canceled"):
        assert why(cast.ben, rows.task(cast.acme, cast.ben, state)) is None
    deleted = rows.task(cast.acme, cast.ben, "cancelling", undo_until=clock(30))
    assert why(cast.ben, deleted) is None
    assert Task.undo_until is not None
