"""Horses that die at work, and workers that are told to stop. No scheduler runs: the worker itself cleans up."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from jobs import claims, judge, leases, queue, records, rehearsal, submit
from jobs.attempts import Outcome
from jobs.models import Attempt, Task
from jobs.records import Ended
from jobs.states import State
from jobs.worker import rest_seconds
from tenants.clock import clock
from tenants.database import transaction
from tests import look
from tests.factories import Cast
from tests.servers import Line
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Notes = Callable[[], list[list[str]]]
Work = Callable[..., None]


def state(id_: int) -> str | None:
    return look.scalar(select(Task.state).where(Task.id == id_))


def outcomes(id_: int) -> list[str]:
    return look.scalars(select(Attempt.outcome).where(Attempt.task_id == id_).order_by(Attempt.number))


def begun(notes: Notes, id_: int) -> list[list[str]]:
    return [note for note in notes() if note[2] == str(id_)]


def test_a_dead_horse_costs_only_the_task_that_ran_an_attempt(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    """Five end before it in the same batch and five would have come after it. Nothing runs twice."""
    before = [submit("test.note", business="acme", priority=9) for _ in range(5)]
    killer = submit("test.suicide", business="acme", priority=5)
    after = [submit("test.note", business="acme") for _ in range(5)]
    start("worker", "default")
    until(lambda: state(killer) == "failed")
    until(lambda: {state(id_) for id_ in [*before, *after]} == {"completed"})
    assert outcomes(killer) == ["lost", "lost", "lost"]
    assert "SIGKILL" in look.scalar(select(Attempt.error).where(Attempt.task_id == killer).limit(1))
    assert [(len(begun(notes, id_)), outcomes(id_)) for id_ in [*before, *after]] == [(1, ["completed"])] * 10


def test_a_handler_that_ends_its_process_as_if_all_were_well_is_lost_at_once(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    leaver = submit("test.leave", business="acme", priority=5)
    after = [submit("test.note", business="acme") for _ in range(5)]
    start("worker", "default")
    until(lambda: state(leaver) == "failed", seconds=8)  # less than a lease
    until(lambda: {state(id_) for id_ in after} == {"completed"}, seconds=8)
    assert (outcomes(leaver), [outcomes(id_) for id_ in after]) == (["lost", "lost"], [["completed"]] * 5)


def test_a_thread_that_ends_its_process_between_two_tasks_costs_no_neighbour_an_attempt(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    """Its status says that all is well, and nothing runs: the leases of all that it had in hand ran out."""
    last = [submit("test.last_word", business="acme", priority=5) for _ in range(3)]
    after = [submit("test.note", business="acme") for _ in range(5)]
    start("worker", "default", LEASE_SECONDS="600")
    until(lambda: {state(id_) for id_ in [*last, *after]} == {"completed"}, seconds=60)
    assert [outcomes(id_) for id_ in after] == [["completed"]] * 5
    assert {outcomes(id_)[-1] for id_ in last} == {"completed"}


def test_a_payload_that_kills_whoever_reads_it_fails_at_its_limit(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    """Validators are their author's code, too."""
    db.add(deadly := Task(business_id=cast.acme.id, task_type="test.deadly", queue="default", payload={"value": 1}))
    deadly.max_attempts = 2
    db.commit()
    beside = submit("test.note", business="acme")
    start("worker", "default")
    until(lambda: state(deadly.id) == "failed")
    until(lambda: state(beside) == "completed")
    assert (outcomes(deadly.id), outcomes(beside)) == (["lost", "lost"], ["completed"])


def test_what_ended_before_its_horse_died_is_not_repeated(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    """The task that ends first is in no table yet when the next one kills them both."""
    warm_up = submit("test.note", business="acme", priority=20)
    ended = submit("test.again", business="acme", priority=10)  # its first attempt ends as a retry
    killer = submit("test.suicide", business="acme", priority=5)
    start("worker", "default")
    until(lambda: state(killer) == "failed")
    until(lambda: state(ended) == "completed")
    assert (outcomes(warm_up), outcomes(ended)) == (["completed"], ["retry", "completed"])


def test_a_poison_pill_fails_nobody_else_and_is_claimed_alone(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    neighbours = [submit("test.note", business="acme") for _ in range(20)]
    pills = [submit("test.suicide", business="acme") for _ in range(2)]
    db.execute(update(Task).where(Task.id.in_(neighbours)).values(max_attempts=1))
    db.commit()
    for _ in range(2):
        start("worker", "default")
    until(lambda: {state(id_) for id_ in pills} == {"failed"}, seconds=30)
    until(lambda: {state(id_) for id_ in neighbours} == {"completed"})


def test_a_task_whose_last_attempt_was_lost_is_claimed_alone(db: Session, cast: Cast) -> None:
    ids = [submit("test.note", business="acme") for _ in range(6)]
    db.execute(update(Task).where(Task.id.in_(ids[2:4])).values(claim_alone=True))
    batches = []
    for _ in range(4):
        claimed = claims.claim(db, cast.acme.id, "default", limit=10, worker="w", lease_seconds=9)
        batches.append([one.id for one in claimed])
    assert batches == [ids[:2], ids[2:3], ids[3:4], ids[4:]]
    assert set(look.scalars(select(Task.attempts))) == {0}  # what this transaction did is not committed
    db.commit()
    assert set(look.scalars(select(Task.attempts))) == {1}, "what is given back costs no attempt"


@pytest.mark.parametrize("how", ["given back", "retry", "reaped"])
def test_what_waits_again_names_no_worker(db: Session, cast: Cast, how: str) -> None:
    id_ = submit("test.note", business="acme")
    (claim,) = claims.claim(db, cast.acme.id, "default", limit=1, worker="w", lease_seconds=9)
    if how == "given back":
        claims.give_back(db, [claim])
    elif how == "retry":
        records.record(db, [Ended(claim, Outcome(State.PENDING, "retry"), 0.0, 1.0, 7)], "w")
    else:
        db.execute(update(Task).where(Task.id == id_).values(lease_until=clock(-1)))
        leases.reap(db)
    db.commit()
    task = look.task(id_)
    assert (task.state, task.worker, task.pid, task.started_at) == ("pending", None, None, None)


def test_a_spare_that_is_slow_to_begin_its_turn_does_not_look_lost(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    worker = start("worker", "default")
    first = submit("test.note", business="acme")
    until(lambda: state(first) == "completed")
    until(lambda: not Path(f"/proc/{begun(notes, first)[0][4]}").exists())
    spare = int(until(Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text))
    db.add(task := Task(business_id=cast.globex.id, task_type="test.note", queue="default"))
    db.commit()  # not later: what is frozen may hold SQLite's write lock
    os.kill(spare, signal.SIGSTOP)
    queue.wake_now(cast.globex.id, "default")
    until(lambda: not queue.turns_queued("default"))
    until(lambda: queue.missing_ticket(cast.globex.id, "default") is None, seconds=2)
    assert not begun(notes, task.id)
    os.kill(spare, signal.SIGCONT)
    until(lambda: state(task.id) == "completed")


def test_a_horse_dies_with_its_worker_and_leaves_no_two_runs(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    worker = start("worker", "default")
    id_ = submit("test.note", business="acme", payload={"seconds": 20})
    horse = until(lambda: begun(notes, id_))[0][4]
    worker.kill()
    until(lambda: not Path(f"/proc/{horse}").exists(), seconds=3)
    assert state(id_) == "running", "until its lease is over"


def test_a_handler_that_holds_a_lock_and_the_interpreter_is_stopped_before_its_lease_ends(
    db: Session, cast: Cast, start: Start
) -> None:
    """Nobody can write of its task while it lives, not even its guard."""
    start("worker", "default", LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.3")
    id_ = submit("test.hog", business="acme")
    until(lambda: state(id_) == "failed", seconds=10)
    assert outcomes(id_) == ["lost"]
    follows = submit("test.note", business="acme")
    until(lambda: state(follows) == "completed")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_handler_ends_before_its_lease_though_the_database_neither_answers_nor_refuses(
    db: Session, engine: Engine, cast: Cast, start: Start, notes: Notes
) -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        line = Line(Path(str(engine.url.query["host"])) / ".s.PGSQL.5432", Path(folder) / ".s.PGSQL.5432")
        far = engine.url.update_query_dict({"host": folder}).render_as_string(hide_password=False)
        worker = start("worker", "default", DATABASE_URL=far, LEASE_SECONDS="4", HEARTBEAT_SECONDS="1")
        submit("test.clean", business="acme")
        until(notes)
        line.hang()
        until(lambda: len(notes()) == 2)
        worker.kill()
        line.close()
    (began, *_), (cleaned, *_) = notes()
    assert float(cleaned) - float(began) < 4


def test_a_spare_that_is_killed_while_it_waits_is_replaced(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    worker = start("worker", "default")
    first = submit("test.note", business="acme")
    until(lambda: state(first) == "completed")
    horse = int(begun(notes, first)[0][4])
    until(lambda: not Path(f"/proc/{horse}").exists())
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    spare = int(until(children.read_text))
    os.kill(spare, signal.SIGKILL)
    second = submit("test.note", business="globex")
    until(lambda: state(second) == "completed")
    assert outcomes(second) == ["completed"]


def test_a_worker_told_to_stop_ends_its_task_and_gives_back_the_rest(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    worker = start("worker", "default", SLICE_SECONDS="30")
    submit("test.note", business="acme", priority=9)
    running = submit("test.note", business="acme", priority=5, payload={"seconds": 1.5})
    rest = [submit("test.note", business="acme", payload={"seconds": 0.01}) for _ in range(5)]
    until(lambda: begun(notes, running))
    worker.terminate()
    assert worker.wait(timeout=15) == 0
    assert (state(running), outcomes(running)) == ("completed", ["completed"])
    assert {state(id_) for id_ in rest} == {"pending"}
    assert set(look.scalars(select(Task.attempts).where(Task.id.in_(rest)))) == {0}


@pytest.mark.parametrize("how", ["twice", "too long", "the horse itself"])
def test_a_worker_that_cannot_wait_gives_its_running_task_back(
    db: Session, cast: Cast, start: Start, notes: Notes, how: str
) -> None:
    worker = start("worker", "default", STOP_SECONDS="0.5" if how == "too long" else "60")
    id_ = submit("test.note", business="acme", payload={"seconds": 3 if how == "the horse itself" else 30})
    horse = int(until(lambda: begun(notes, id_))[0][4])
    if how == "the horse itself":  # systemd's way: SIGTERM to every process of the service
        os.kill(horse, signal.SIGTERM)
    worker.terminate()
    if how == "twice":
        until(lambda: state(id_) == "pending" or worker.terminate(), every=0.2)  # signals that come too close are one
    assert worker.wait(timeout=15) == 0
    expected = ("completed", ["completed"]) if how == "the horse itself" else ("pending", ["lost"])
    assert (state(id_), outcomes(id_)) == expected


def refuse_claims(db: Session) -> str:
    """Let the database refuse every claim; the statement that ends it."""
    rule = "BEFORE UPDATE ON tasks WHEN new.state = 'running' BEGIN SELECT RAISE(ABORT, 'not now'); END"
    refuse, allow = f"CREATE TRIGGER not_now {rule}", "DROP TRIGGER not_now"
    if db.get_bind().dialect.name == "postgresql":
        refuse = "ALTER TABLE tasks ADD CONSTRAINT not_now CHECK (state <> 'running')"
        allow = "ALTER TABLE tasks DROP CONSTRAINT not_now"
    db.execute(text(refuse))
    db.commit()
    return allow


def test_a_worker_that_may_not_claim_says_so_once_and_goes_on_when_it_may(
    db: Session, cast: Cast, start: Start, capfd: Any
) -> None:
    allow = refuse_claims(db)
    start("worker", "default")
    id_ = submit("test.note", business="acme")
    turns: set[bytes | None] = {None}
    until(lambda: turns.add(queue.connection().get(f"sluice:{cast.acme.id}:turn:default")) or len(turns) > 4, every=0)
    db.execute(text(allow))
    db.commit()
    until(lambda: state(id_) == "completed")
    assert "".join(capfd.readouterr()).count("a turn failed") == 1


def test_a_worker_that_may_not_claim_rests_before_it_asks_for_the_next_turn(
    db: Session, cast: Cast, start: Start
) -> None:
    """No scheduler runs: the worker itself queues each turn after its horse died, and after a rest with its spare."""
    refuse_claims(db)
    worker = start("worker", "default")
    submit("test.note", business="acme")
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    rests: dict[bytes, float] = {}
    alone_since = time.monotonic()

    def six() -> bool:
        nonlocal alone_since
        if ticket := queue.connection().get(f"sluice:{cast.acme.id}:turn:default"):
            rests.setdefault(bytes(ticket), time.monotonic() - alone_since)  # type: ignore[arg-type]
        if len(children.read_text().split()) > 1:
            alone_since = time.monotonic()
        return len(rests) >= 6

    until(six, seconds=60, every=0)
    assert list(rests.values())[5] > 0.4, rests  # after five that failed it is 0.8 s at least; looking takes its time


def test_a_worker_rests_longer_after_each_turn_that_failed_but_not_for_ever() -> None:
    rests = [{rest_seconds(failed) for _ in range(100)} for failed in range(20)]
    assert rests[0] == {0.0}
    assert all(len(some) > 90 for some in rests[1:]), "two workers would come back at the same moment"
    assert max(rests[1]) <= min(rests[2]) < max(rests[3]) <= min(rests[4])
    assert max(max(some) for some in rests) <= 5.0


@pytest.mark.parametrize("whose", ["everybody's", "a business's"])
def test_a_spare_horse_that_limbers_up_waits_for_nobodys_lock_and_has_none(db: Session, cast: Cast, whose: str) -> None:
    with transaction() as session:
        judge.stop_claims(session, None if whose == "everybody's" else cast.acme.id)
        spare = threading.Thread(target=rehearsal.limber)
        spare.start()
        until(lambda: not spare.is_alive(), seconds=8)  # less than the patience of a lock


def test_what_a_handler_leaves_running_ends_with_its_turn(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    start("worker", "default")
    id_ = submit("test.daemon", business="acme")
    until(lambda: state(id_) == "completed")
    (daemon,) = until(lambda: [note[4] for note in notes() if note[3] == "daemon"])
    until(lambda: not Path(f"/proc/{daemon}").exists(), seconds=5)


@pytest.mark.parametrize("then", ["then all is quiet", "then RQ writes its state"])
def test_a_worker_registers_again_when_redis_forgot_it(db: Session, cast: Cast, start: Start, then: str) -> None:
    start("worker", "default")
    redis = queue.connection()
    (name,) = names = until(lambda: redis.smembers("rq:workers"))
    until(lambda: redis.hget(name, "state") == b"idle")
    redis.flushall()
    if then == "then RQ writes its state":  # as it was about to
        redis.hset(name, "state", "idle")
    id_ = submit("test.note", business="acme")
    until(lambda: state(id_) == "completed")
    until(lambda: redis.smembers("rq:workers") == names, seconds=5)  # not only when its wait for a turn ends


def test_an_end_that_the_database_refuses_fails_its_task_and_no_other(db: Session, cast: Cast, work: Work) -> None:
    if db.get_bind().dialect.name == "sqlite":
        db.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON attempts WHEN new.result LIKE '%at last%' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        )
    else:
        db.execute(text("ALTER TABLE attempts ADD CHECK (result::text NOT LIKE '%at last%')"))
    db.commit()
    good = [submit("test.note", business="acme") for _ in range(2)]
    refused = submit("test.again", business="acme", payload={"succeed_at": 1}, priority=1)
    work()
    assert [state(id_) for id_ in [*good, refused]] == ["completed", "completed", "failed"]
    assert look.scalar(select(Attempt.error).where(Attempt.task_id == refused)) == "How it ended could not be stored."
