"""Interrupts and timeouts: asked first, by force later, children included."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs import TaskContext, claims, horses, interrupts, judge, submit, turns
from jobs import attempts as attempts_
from jobs.attempts import Claim
from jobs.board import Board, Running, Why
from jobs.guard import Guard
from jobs.horses import Horse
from jobs.models import Attempt, Entry, Task
from jobs.states import FINAL
from tenants import audit
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import NotAllowed, NotFound
from tests import look
from tests.factories import Cast
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Notes = Callable[[], list[list[str]]]
Work = Callable[..., None]


def state(id_: int) -> str | None:
    return look.scalar(select(Task.state).where(Task.id == id_))


def attempts(id_: int) -> list[Attempt]:
    return look.scalars(select(Attempt).where(Attempt.task_id == id_).order_by(Attempt.number))


def interrupt(db: Session, by: object, id_: int) -> str:
    answer = interrupts.interrupt(db, by, id_)  # type: ignore[arg-type]
    db.commit()
    return answer


def said(notes: Notes, id_: int) -> list[str]:
    """What the handler wrote of a task, without times and processes."""
    return [note[3] for note in notes() if note[2] == str(id_)]


def alive(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("waiting", ["pending", "paused"])
def test_a_waiting_task_is_canceled_at_once_and_never_begins(
    db: Session, cast: Cast, work: Work, notes: Notes, waiting: str
) -> None:
    id_ = submit("test.note", business="acme", user="ben@example.com")
    db.execute(update(Task).where(Task.id == id_).values(state=waiting))
    db.commit()
    assert interrupt(db, cast.ada, id_) == "canceled"
    work()
    task = look.task(id_)
    assert (task.state, task.cause, task.ended_by, task.attempts) == ("canceled", "interrupted", cast.ada.user.id, 0)
    assert task.ended_at is not None
    assert notes() == []
    assert [one.act for one in audit.search(db, cast.ada)][:1] == ["interrupt"]


def test_a_running_task_is_interrupted_cleans_up_and_is_canceled(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    start("worker", "default", HEARTBEAT_SECONDS="60", LEASE_SECONDS="120")  # so that only the knock can be in time
    id_ = submit("test.clean", business="acme", user="ben@example.com")
    follows = submit("test.note", business="acme")
    until(lambda: said(notes, id_))
    assert interrupt(db, cast.ben, id_) == "cancelling"
    assert interrupt(db, cast.ben, id_) == "cancelling", "twice changes nothing"
    until(lambda: state(id_) == "canceled", seconds=3)
    assert said(notes, id_) == ["began", "cleaned"]
    (attempt,) = attempts(id_)
    assert (attempt.outcome, attempt.number) == ("canceled", 1)
    assert (
        look.scalar(select(Entry.text).where(Entry.task_id == id_, Entry.kind == "event"))
        == f"Interrupted by {cast.ben.user.name}"
    )
    until(lambda: state(follows) == "completed")


def test_without_redis_the_heartbeat_brings_the_interrupt(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    start("worker", "default", HEARTBEAT_SECONDS="0.3")
    id_ = submit("test.clean", business="acme")
    until(lambda: said(notes, id_))
    db.execute(update(Task).where(Task.id == id_).values(state="cancelling"))  # as if the knock were lost
    db.commit()
    until(lambda: state(id_) == "canceled", seconds=3)
    assert said(notes, id_) == ["began", "cleaned"]


@pytest.mark.parametrize("how", ["swallow", "hold"])
def test_a_deaf_handler_is_killed_with_all_that_it_started(
    db: Session, cast: Cast, start: Start, notes: Notes, how: str
) -> None:
    """It swallows whatever is raised in it, or holds the interpreter; its child is in a session of its own."""
    start("worker", "default", GRACE_SECONDS="0.5", HEARTBEAT_SECONDS="0.3")
    id_ = submit("test.deaf", business="acme", payload={"how": how})
    pids = until(lambda: [note[4] for note in notes() if note[2] == str(id_)])
    child = until(lambda: [note[4] for note in notes() if note[3] == "child"])[0]
    interrupt(db, cast.ada, id_)
    until(lambda: state(id_) == "canceled", seconds=6)
    until(lambda: not alive(pids[0]) and not alive(child), seconds=3)
    assert [one.outcome for one in attempts(id_)] == ["canceled"]
    follows = submit("test.note", business="acme")
    until(lambda: state(follows) == "completed")


def test_an_interrupt_wins_over_a_later_result(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.interrupt_me", business="acme")
    work()
    (attempt,) = attempts(id_)
    assert (state(id_), attempt.outcome) == ("canceled", "canceled")


def test_a_handler_that_raises_interrupted_itself_is_canceled(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.give_up", business="acme")
    work()
    assert (state(id_), look.task(id_).cause) == ("canceled", "interrupted")
    assert [one.outcome for one in attempts(id_)] == ["canceled"]


@pytest.mark.parametrize("final", sorted(FINAL))
def test_what_is_over_stays_as_it_is(db: Session, cast: Cast, final: str) -> None:
    id_ = submit("test.note", business="acme")
    db.execute(update(Task).where(Task.id == id_).values(state=final, ended_at=clock()))
    db.commit()
    with pytest.raises(interrupts.AlreadyOver):
        interrupts.interrupt(db, cast.ada, id_)
    db.rollback()
    assert state(id_) == final


def test_people_interrupt_only_what_is_theirs(db: Session, cast: Cast) -> None:
    bens = submit("test.note", business="acme", user="ben@example.com")
    for outsider in (cast.cleo, cast.zoe):
        with pytest.raises(NotFound):
            interrupts.interrupt(db, outsider, bens)
    db.rollback()
    assert state(bens) == "pending"
    assert NotAllowed is not NotFound


def test_a_timeout_fails_the_attempt_as_a_timeout_error_would(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    start("worker", "default")
    retried = submit("test.slow", business="acme")  # one retry, and the default retry_on has TimeoutError
    own = submit("test.clean", business="acme", priority=-1)
    db.execute(update(Task).where(Task.id == own).values(timeout_seconds=0.3, max_attempts=1))
    db.commit()
    until(lambda: state(retried) == "failed")
    assert [one.outcome for one in attempts(retried)] == ["retry", "failed"]
    assert "longer than its timeout" in str(attempts(retried)[0].error)
    until(lambda: state(own) == "failed")
    assert said(notes, own) == ["began", "cleaned"]


def test_a_deaf_handler_that_runs_too_long_is_killed(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    start("worker", "default", GRACE_SECONDS="0.3")
    id_ = submit("test.deaf", business="acme", payload={"how": "hold"})
    db.execute(update(Task).where(Task.id == id_).values(timeout_seconds=0.3, max_attempts=1))
    db.commit()
    until(lambda: state(id_) == "failed", seconds=5)
    (attempt,) = attempts(id_)
    assert (attempt.outcome, "was killed" in str(attempt.error)) == ("failed", True)


def test_an_interrupted_script_ends_with_its_children(db: Session, cast: Cast, start: Start, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/child\necho started\nwait\n")
    runs.chmod(0o755)
    start("worker", "scripts", SCRIPT_DIRS=str(tmp_path))
    id_ = submit("script.execute", business="acme", payload={"script": "runs"})
    until(lambda: look.scalar(select(Entry.id).where(Entry.task_id == id_, Entry.text == "started")))
    interrupt(db, cast.ada, id_)
    until(lambda: state(id_) == "canceled", seconds=5)
    until(lambda: not alive((tmp_path / "child").read_text().strip()), seconds=5)


def test_a_claimed_task_that_was_interrupted_before_it_began_does_not_begin(db: Session, cast: Cast) -> None:
    id_, other = (submit("test.note", business="acme", user="ben@example.com") for _ in range(2))
    claimed = claims.claim(db, cast.acme.id, "default", limit=9, worker="here", lease_seconds=60)
    db.commit()
    assert interrupt(db, cast.ben, id_) == "cancelling"
    assert claims.still_good(db, cast.acme.id, claimed) == {other}
    claims.give_back(db, claimed)
    db.commit()
    assert [(look.task(one).state, look.task(one).attempts) for one in (id_, other)] == [
        ("canceled", 0),
        ("pending", 0),
    ]


def test_an_order_that_came_a_moment_before_its_handler_is_heard_as_that_begins(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one signal finds no handler to stop; the task ran to its end, or was killed after its grace."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(attempts_, "_hear", attempts_._hear)
    board, ran = Board(), []
    horses._listen(board)
    claim = Claim(7, cast.acme.id, "acme", None, "test.note", {}, 1, 10, "token", datetime.now(UTC))
    board.order(Running(7, 1, 0.0, 0.0), Why.INTERRUPTED)
    outcome = attempts_.perform(claim, TaskContext(7, 1, "acme", None), ran.append)
    assert (outcome.kind, ran) == ("canceled", [])
    other = dataclasses.replace(claim, id=8)
    assert attempts_.perform(other, TaskContext(8, 1, "acme", None), ran.append).kind == "completed"
    board.close()


def test_an_interrupt_of_what_is_claimed_and_not_begun_is_heard_as_soon_as_it_begins(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The knock comes while another one of the batch runs. The next look was the next heartbeat's."""
    settings = turns.Settings(worker="here", lease_seconds=600, heartbeat_seconds=600)
    monkeypatch.setattr(turns, "settings", settings)
    first, second = (submit("test.note", business="acme", user="ben@example.com") for _ in range(2))
    with transaction(claims=True) as session:
        judge.let_claims_pass(session, cast.acme.id)
        claims.claim(session, cast.acme.id, "default", limit=2, worker="here", lease_seconds=600)
    horse, knocks = Horse(), [True]
    db.execute(update(Task).values(pid=horse.pid))
    interrupt(db, cast.ada, second)
    guard = Guard(horse, "here", knocks=lambda: bool(knocks and knocks.pop()), stops=lambda: 0, beat=lambda: None)
    watch = threading.Thread(target=guard.watch)
    try:
        horse.board.begin(first, 1, time.monotonic(), 0.0)
        watch.start()
        until(lambda: not knocks)
        horse.board.begin(second, 1, time.monotonic(), 0.0)
        assert until(horse.board.ordered) == (second, 1, Why.INTERRUPTED)
    finally:
        horse.signal(signal.SIGKILL)
        watch.join()
        horse.close()
