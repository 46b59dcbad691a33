"""Running a task in the caller: the same record as a worker's, and the same rules."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session

from jobs import Held, TaskContext, inline, judge, leases, limits, pauses, queue, run_inline, task_type, task_types
from jobs.judge import Target
from jobs.models import Attempt, Entry, Task
from jobs.states import State
from tenants.database import transaction
from tests import look
from tests.factories import Cast
from tests.waiting import until

Work = Callable[..., None]
Notes = Callable[[], list[list[str]]]
BEN = "ben@example.com"


def count(model: Any = Task) -> int:
    return look.scalar(select(func.count()).select_from(model)) or 0


def test_it_runs_at_once_and_leaves_the_same_record(db: Session, cast: Cast, notes: Notes) -> None:
    done = run_inline(
        "test.open", business="acme", user=BEN, title="Now", priority=3, timeout=9, payload={"lines": 2}, unique_key="k"
    )
    assert (done.state, done.result, done.error) == (State.COMPLETED, "done", None)
    task = look.task(done.id)
    assert (task.state, task.attempts, task.claim_token, task.user_id) == ("completed", 1, None, cast.ben.user.id)
    assert (task.title, task.priority, task.timeout_seconds, task.unique_key) == ("Now", 3, 9, "k")
    assert (task.progress_done, task.progress_total) == (1, 2)
    assert look.scalars(select(Entry.text).order_by(Entry.id)) == ["line 0", "line 1"]
    (attempt,) = look.scalars(select(Attempt))
    assert (attempt.outcome, attempt.result, attempt.worker) == ("completed", "done", task.worker)
    assert task.created_at <= attempt.started_at <= attempt.ended_at <= task.ended_at
    queue.flush()
    assert queue.turns_queued("default") == 0, "there is nothing for a worker to do"


def _stopped_at_second_reading(value: list[int]) -> list[int]:
    _reads.append(1)
    if len(_reads) == 2:
        raise KeyboardInterrupt
    return value


_reads: list[int] = []


def _numbers(task: TaskContext, *, value: Annotated[list[int], BeforeValidator(_stopped_at_second_reading)]) -> None:
    pytest.fail("it never begins")


def test_ctrl_c_before_it_begins_leaves_nothing_for_the_workers(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row stayed, running, until its lease was over; then a worker ran it."""
    monkeypatch.setattr(task_types, "_registry", dict(task_types._registry))
    _reads.clear()
    task_type("own.numbers", title="Numbers")(_numbers)
    with pytest.raises(KeyboardInterrupt):
        run_inline("own.numbers", business="acme", payload={"value": [1]})
    assert count() == 0


def test_a_failure_is_told_and_written_with_its_traceback(db: Session, cast: Cast) -> None:
    done = run_inline("test.open", business="acme", payload={"how": "fail"})
    assert (done.state, done.error) == (State.FAILED, "LookupError: no such file")
    assert "in patient" in look.scalar(select(Attempt.traceback))


def test_a_retry_is_left_to_the_workers(db: Session, cast: Cast, work: Work) -> None:
    done = run_inline("test.open", business="acme", payload={"retry": True})
    assert (done.state, done.error) == (State.PENDING, "not yet")
    queue.flush()
    assert queue.turns_queued("default") == 1
    until(lambda: work("default") or look.task(done.id).ended_at)
    assert (look.task(done.id).state, look.task(done.id).attempts) == ("completed", 2)


def test_ctrl_c_ends_the_task_and_then_the_caller(db: Session, cast: Cast) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_inline("test.open", business="acme", payload={"how": "stop"})
    assert look.scalar(select(Task.state)) == "failed"


@pytest.mark.parametrize("whole", [False, True])
def test_a_pause_refuses_it_and_leaves_no_row(db: Session, cast: Cast, notes: Notes, whole: bool) -> None:
    by, target = (cast.root, None) if whole else (cast.ada, cast.acme.id)
    pauses.pause(db, by, Target(target, task_type="test.open"), "too loud")
    db.commit()
    with pytest.raises(Held):
        run_inline("test.open", business="acme", user=BEN)
    assert (count(), notes()) == (0, [])
    run_inline("test.note", business="acme", user=BEN)
    assert count() == 1
    assert run_inline("test.open", business="initech").state == State.COMPLETED if not whole else True


def test_what_a_limit_holds_does_not_run_and_leaves_no_row(db: Session, cast: Cast) -> None:
    limits.set(db, cast.root, cast.acme.id, 0)
    db.commit()
    with pytest.raises(Held, match="limit"):
        run_inline("test.note", business="acme")
    assert look.scalars(select(Task.id)) == []


def test_a_pause_that_answers_between_the_claim_and_the_start_refuses_it(
    db: Session, cast: Cast, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = inline.attempts.prepare

    def slowly(claim: Any) -> Any:
        pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "too loud")
        db.commit()
        return prepare(claim)

    monkeypatch.setattr(inline.attempts, "prepare", slowly)
    with pytest.raises(Held):
        run_inline("test.open", business="acme", user=BEN)
    assert (count(), notes()) == (0, [])


def test_a_claim_that_grew_old_is_checked_again_and_then_begins(db: Session, cast: Cast, engine: Engine) -> None:
    waits = [judge.CLAIM_VALID_SECONDS * 2]

    def dawdle(connection: object) -> None:
        threading.Event().wait(waits.pop() if waits else 0)

    event.listen(engine, "commit", dawdle)
    done = run_inline("test.open", business="acme")
    event.remove(engine, "commit", dawdle)
    assert done.state == State.COMPLETED


def test_its_lease_is_kept_and_it_is_heard_while_it_runs(
    db: Session, cast: Cast, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEASE_SECONDS", "1")
    monkeypatch.setenv("HEARTBEAT_SECONDS", "0.2")
    with ThreadPoolExecutor(1) as caller:
        called = caller.submit(run_inline, "test.open", business="acme", payload={"seconds": 3.0, "lines": 1})
        until(notes)
        first = look.scalar(select(Task.lease_until))
        until(lambda: count(Entry) == 1, seconds=2)
        assert look.scalar(select(Task.state)) == "running"

        def renewed() -> bool:
            with transaction() as session:
                assert leases.reap(session) == 0
            lease = look.scalar(select(Task.lease_until))
            return lease is None or (lease - first).total_seconds() > 1.2

        until(renewed)
        assert called.result(timeout=15).state == State.COMPLETED
    assert count(Attempt) == 1


def test_no_transaction_is_open_while_the_handler_runs(db: Session, cast: Cast, notes: Notes, engine: Engine) -> None:
    with ThreadPoolExecutor(1) as caller:
        called = caller.submit(run_inline, "test.open", business="acme", payload={"seconds": 1.0})
        until(notes)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert called.result(timeout=15).state == State.COMPLETED


def test_an_attempt_that_was_taken_away_changes_nothing(
    db: Session, cast: Cast, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEASE_SECONDS", "0.2")
    monkeypatch.setenv("HEARTBEAT_SECONDS", "60")
    with ThreadPoolExecutor(1) as caller:
        called = caller.submit(run_inline, "test.open", business="acme", payload={"seconds": 1.5})
        until(notes)

        def reaped() -> int:
            with transaction() as session:
                return leases.reap(session)

        until(reaped)
        done = called.result(timeout=15)
    assert (done.state, done.result, done.error) == (State.PENDING, None, leases.LOST)
    assert look.scalars(select(Attempt.outcome)) == ["lost"]
