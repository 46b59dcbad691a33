"""What a turn does with tasks: results, failures, retries, news, and what it does not start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from jobs import judge, pauses, submit, turns
from jobs.attempts import Claim, LeaseLost, perform
from jobs.context import TaskContext
from jobs.judge import Target
from jobs.models import Attempt, Entry, Task
from tenants.clock import clock
from tests import look
from tests.factories import Cast
from tests.waiting import until

Work = Callable[..., None]
Notes = Callable[[], list[list[str]]]


def attempts(id_: int) -> list[Attempt]:
    return look.scalars(select(Attempt).where(Attempt.task_id == id_).order_by(Attempt.number))


def test_a_returned_result_is_completed(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme", user="ben@example.com")
    work()
    task, (attempt,) = look.task(id_), attempts(id_)
    assert (task.state, task.attempts, task.claim_token) == ("completed", 1, None)
    assert attempt.outcome == "completed"
    assert set(attempt.result) == {"pid"}
    assert task.created_at <= attempt.started_at <= attempt.ended_at
    assert task.created_at <= task.ended_at <= look.scalar(select(clock())), "by the database's clock"


def test_any_other_error_is_failed_at_once_with_its_traceback(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.fail", business="acme", payload={"text": "no such file"})
    work()
    (attempt,) = attempts(id_)
    assert look.task(id_).state == "failed"
    assert attempt.error == "LookupError: no such file"
    assert "in fail" in str(attempt.traceback)


@pytest.mark.parametrize("how", ["retry", "error"])
def test_a_retry_is_pending_again_until_it_succeeds(db: Session, cast: Cast, work: Work, how: str) -> None:
    id_ = submit("test.again", business="acme", payload={"how": how})
    work()
    work()
    assert look.task(id_).state == "completed"
    assert [one.outcome for one in attempts(id_)] == ["retry", "completed"]


def test_the_last_attempt_fails(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.again", business="acme", payload={"succeed_at": 9})
    for _ in range(4):
        work()
    assert (look.task(id_).state, look.task(id_).attempts) == ("failed", 3)
    assert [one.outcome for one in attempts(id_)] == ["retry", "retry", "failed"]


@pytest.mark.parametrize("what", ["set", "nan", "huge", "shared", "exit"])
def test_an_odd_end_is_a_failure_with_its_reason(db: Session, cast: Cast, work: Work, what: str) -> None:
    id_ = submit("test.odd", business="acme", payload={"what": what})
    follows = submit("test.note", business="acme")
    work()
    assert look.task(id_).state == "failed"
    assert attempts(id_)[0].error
    assert look.task(follows).state == "completed"


def test_a_result_that_shares_its_parts_is_refused_before_secrets_are_looked_for_in_it(
    db: Session, cast: Cast, work: Work
) -> None:
    id_ = submit("test.secret", business="acme", payload={"password": "canary", "how": "shared"})
    work()
    assert look.task(id_).state == "failed"
    assert "more than 65,536 bytes" in str(attempts(id_)[0].error)


@pytest.mark.parametrize(("what", "result"), [("int", 2**70), ("none", None)])
def test_results_are_kept_exactly(db: Session, cast: Cast, work: Work, what: str, result: Any) -> None:
    id_ = submit("test.odd", business="acme", payload={"what": what})
    work()
    assert attempts(id_)[0].result == result


def test_what_a_handler_says_is_kept(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.talk", business="acme")
    work()
    lines = look.scalars(select(Entry).where(Entry.task_id == id_).order_by(Entry.id))
    assert [line.kind for line in lines] == ["step", "log", "log"]
    assert lines[1].text.startswith("line 0 \N{SYMBOL FOR NULL}")
    assert (look.task(id_).progress_done, look.task(id_).progress_total) == (2, 2)


def test_a_running_handler_is_heard_while_it_runs(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.talk", business="acme", payload={"seconds": 1.5})
    turn = threading.Thread(target=work)
    turn.start()

    def state_when_heard() -> str | None:
        heard = look.scalar(select(Entry.id).where(Entry.task_id == id_).limit(1))
        return look.scalar(select(Task.state).where(Task.id == id_)) if heard else None

    assert until(state_when_heard) == "running"
    turn.join()


def test_a_long_task_holds_back_neither_the_finished_nor_the_unbegun(
    db: Session, cast: Cast, work: Work, notes: Notes
) -> None:
    quick = [submit("test.note", business="acme", priority=9) for _ in range(30)]
    long_one = submit("test.note", business="acme", priority=8, payload={"seconds": 2})
    behind = [submit("test.note", business="acme") for _ in range(5)]
    turn = threading.Thread(target=work)
    turn.start()
    until(lambda: any(note[2] == str(long_one) for note in notes()))

    def others() -> bool:
        states = dict(map(tuple, look.rows(select(Task.id, Task.state).where(Task.id != long_one))))
        finished = all(states[id_] == "completed" for id_ in quick)
        return finished and all(states[id_] == "pending" for id_ in behind)

    until(others, seconds=1.5)
    assert look.scalar(select(Task.state).where(Task.id == long_one)) == "running"
    assert set(look.scalars(select(Task.attempts).where(Task.id.in_(behind)))) == {0}, "giving back costs no attempt"
    turn.join()


@pytest.mark.parametrize(("attempt", "ends_as"), [(1, "pending"), (10, "failed")])
def test_a_handler_that_is_stopped_because_its_lease_ends_is_lost_and_not_canceled(attempt: int, ends_as: str) -> None:
    claim = Claim(1, 1, "acme", None, "test.note", {}, attempt, 10, "token", datetime.now(UTC))

    def stopped(task: TaskContext) -> None:
        raise LeaseLost("Its lease could not be renewed.")

    outcome = perform(claim, TaskContext(1, attempt, "acme", None), stopped)
    assert (outcome.state, outcome.kind) == (ends_as, "lost")


def test_a_task_that_is_not_due_waits(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme", start_at=datetime.now(UTC) + timedelta(hours=1))
    work()
    assert look.task(id_).state == "pending"


def test_a_type_that_no_worker_knows_waits_and_does_not_fail(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme")
    db.execute(update(Task).where(Task.id == id_).values(task_type="gone.type"))
    db.commit()
    work()
    assert (look.task(id_).state, look.task(id_).attempts) == ("pending", 0)


def test_order_is_priority_then_due_time_then_id(db: Session, cast: Cast, work: Work, notes: Notes) -> None:
    ids = [submit("test.note", business="acme", priority=priority) for priority in (0, 5, -3, 5, 12)]
    earlier = submit("test.note", business="acme", priority=5, start_at=datetime.now(UTC) - timedelta(hours=1))
    work()
    begun = [int(note[2]) for note in notes()]
    assert begun == [ids[4], earlier, ids[1], ids[3], ids[0], ids[2]]


def test_a_lost_attempt_changes_nothing_any_more(db: Session, cast: Cast, work: Work, notes: Notes) -> None:
    id_ = submit("test.note", business="acme", payload={"seconds": 0.5})
    turn = threading.Thread(target=work)
    turn.start()
    until(notes)
    db.execute(update(Task).where(Task.id == id_).values(claim_token="another"))
    db.commit()
    turn.join()
    assert (look.task(id_).state, look.task(id_).claim_token) == ("running", "another")
    assert attempts(id_) == []


def test_a_pause_stops_what_a_turn_has_claimed_but_not_begun(db: Session, cast: Cast) -> None:
    ids = [submit("test.note", business="acme", payload={"seconds": 0.001}) for _ in range(40)]
    turn = turns._Turn(cast.acme.id, "default")
    turn._usual_seconds = 0.0001  # so that it claims many at once
    assert turn.exchange()
    pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "too loud")
    db.commit()
    assert turn.next() is None, "the claims were too old to trust, and the check found the pause"
    turn.exchange()
    assert set(look.scalars(select(Task.attempts).where(Task.id.in_(ids)))) == {0}
    assert set(look.scalars(select(Task.claim_token))) == {None}


def test_what_ended_outlives_a_database_that_is_away_for_a_moment(
    db: Session, cast: Cast, work: Work, notes: Notes, engine: Engine
) -> None:
    id_ = submit("test.note", business="acme", payload={"seconds": 0.3})
    away = threading.Event()

    def refuse(connection: object) -> None:
        if away.is_set():
            raise OperationalError("BEGIN", {}, Exception("the server is away"))

    event.listen(engine, "begin", refuse)
    turn = threading.Thread(target=work)
    turn.start()
    until(notes)
    away.set()
    threading.Timer(1.0, away.clear).start()
    turn.join()
    event.remove(engine, "begin", refuse)
    assert (look.task(id_).state, len(notes())) == ("completed", 1)


def test_nothing_begins_on_a_database_that_is_too_slow_for_the_promise_and_no_attempt_is_lost(
    db: Session, cast: Cast, work: Work, notes: Notes, engine: Engine
) -> None:
    ids = [submit("test.note", business="acme") for _ in range(3)]

    def dawdle(connection: object) -> None:
        time.sleep(judge.CLAIM_VALID_SECONDS)

    event.listen(engine, "commit", dawdle)
    work()
    event.remove(engine, "commit", dawdle)
    assert notes() == []
    assert {(look.task(id_).state, look.task(id_).attempts) for id_ in ids} == {("pending", 0)}
    work()
    assert len(notes()) == 3


def test_a_handler_may_change_what_it_returned(db: Session, cast: Cast, work: Work) -> None:
    ids = [submit("test.shared", business="acme") for _ in range(3)]
    work()
    assert [attempts(id_)[0].result for id_ in ids] == [[1], [1, 2], [1, 2, 3]]


def test_a_payload_that_no_longer_fits_fails_its_task_only(db: Session, cast: Cast, work: Work) -> None:
    id_, other = submit("test.note", business="acme"), submit("test.note", business="acme")
    db.execute(update(Task).where(Task.id == id_).values(payload={"renamed": 1}))
    db.commit()
    work()
    assert (look.task(id_).state, look.task(other).state) == ("failed", "completed")
    assert "renamed" in str(attempts(id_)[0].error)


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("endless", "pending"),
        ("words", "pending"),
        ("enormous", "pending"),
        ("odd", "pending"),
        ("bare", "pending"),
        ("timedelta", "pending"),
        ("mute", "failed"),
        ("long", "failed"),
        ("cancelled", "failed"),
        ("keyboard", "failed"),
        ("deep", "failed"),
        ("progress", "completed"),
        ("fork", "completed"),
    ],
)
def test_a_handler_that_misbehaves_harms_only_its_own_task(
    db: Session, cast: Cast, work: Work, how: str, state: str
) -> None:
    ids = [submit("test.note", business="acme") for _ in range(4)]
    bad = submit("test.poison", business="acme", payload={"how": how})
    ids += [submit("test.note", business="acme") for _ in range(4)]
    work()
    assert [look.task(id_).state for id_ in ids] == ["completed"] * 8
    (attempt,) = attempts(bad)
    assert look.task(bad).state == state
    assert len(attempt.error or "") < 5_000
    if how == "fork":
        assert attempt.result == "the parent's own"
