"""What is lost comes back: workers that die, turns that vanish, jobs that are not ours."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import Engine, event, select, update
from sqlalchemy.orm import Session

from jobs import leases, queue, submit
from jobs.beat import Beat
from jobs.models import Attempt, Task
from tenants.clock import clock
from tenants.database import transaction
from tenants.models import Business
from tests import look
from tests.factories import Cast
from tests.servers import Line, Valkey
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Notes = Callable[[], list[list[str]]]
QUICK = {"LEASE_SECONDS": "1", "HEARTBEAT_SECONDS": "0.3", "BEAT_SECONDS": "0.3"}


def state(id_: int) -> str | None:
    return look.scalar(select(Task.state).where(Task.id == id_))


def outcomes(id_: int) -> list[str]:
    return look.scalars(select(Attempt.outcome).where(Attempt.task_id == id_).order_by(Attempt.number))


def test_a_killed_workers_task_goes_back_and_is_done_by_another(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    start("scheduler", **QUICK)
    first = start("worker", "default", **QUICK)
    id_ = submit("test.note", business="acme", payload={"seconds": 3})
    horse = int(until(notes)[0][4])
    first.kill()
    first.wait()
    until(lambda: not Path(f"/proc/{horse}").exists(), seconds=5)  # the horse dies with its parent
    start("worker", "default", **QUICK)
    until(lambda: state(id_) == "completed", seconds=30)
    assert outcomes(id_) == ["lost", "completed"]


def test_a_heartbeat_keeps_a_long_task(db: Session, cast: Cast, start: Start) -> None:
    start("scheduler", **QUICK)
    start("worker", "default", **QUICK)
    id_ = submit("test.note", business="acme", payload={"seconds": 3})
    until(lambda: state(id_) == "completed", seconds=30)
    assert outcomes(id_) == ["completed"]


def test_a_task_whose_last_attempt_was_lost_is_failed(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme")
    lost = {"state": "running", "claim_token": "gone", "lease_until": clock(-1), "attempts": 10}
    db.execute(update(Task).where(Task.id == id_).values(**lost))
    assert leases.reap(db) == 1
    assert leases.reap(db) == 0
    db.commit()
    assert (state(id_), outcomes(id_)) == ("failed", ["lost"])


def test_many_leases_that_ran_out_at_once_are_reaped_in_chunks(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refused the ids of 70,000, at each beat anew."""
    ids = [submit("test.note", business="acme") for _ in range(7)]
    lost = {"state": "running", "claim_token": "gone", "lease_until": clock(-1), "attempts": 1}
    db.execute(update(Task).where(Task.id.in_(ids)).values(**lost))
    db.commit()
    monkeypatch.setattr("jobs.leases.CHUNK", 2)
    with transaction() as session:
        assert leases.reap(session) == 2
    monkeypatch.setattr("jobs.beat._REAP_SECONDS", 60.0)
    Beat().reap()
    assert {state(id_) for id_ in ids} == {"pending"}
    assert [outcomes(id_) for id_ in ids] == [["lost"]] * 7


def test_the_beat_wakes_what_is_ready_without_a_turn(db: Session, cast: Cast) -> None:
    submit("test.note", business="acme")
    queue.flush()
    queue.connection().flushall()
    Beat().wake_ready()
    assert queue.turns_queued("default") == 1


def test_the_beat_asks_for_many_businesses_at_once(db: Session, cast: Cast, engine: Engine) -> None:
    """Each with something ready, at the first beat without a turn and at the second with one."""
    asked: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    def beat_with(number: int) -> int:
        several = [Business(slug=f"shop-{number}-{one}", name="Shop") for one in range(number)]
        db.add_all(several)
        db.flush()
        db.add_all(Task(business_id=one.id, task_type="test.note", queue="default") for one in several)
        db.commit()
        asked.clear()
        Beat().wake_ready()
        Beat().wake_ready()
        return len(asked)

    few = beat_with(3)
    assert queue.turns_queued("default") == 3
    assert beat_with(600) == few
    assert queue.turns_queued("default") == 603


def test_a_turn_lost_between_pop_and_begin_is_replaced_at_the_second_beat(db: Session, cast: Cast) -> None:
    submit("test.note", business="acme")
    queue.flush()
    queue.connection().delete("rq:queue:default")  # popped by a worker that was killed
    beat = Beat()
    beat.wake_ready()
    assert queue.turns_queued("default") == 0, "it may be just about to begin"
    beat.wake_ready()
    assert queue.turns_queued("default") == 1


def test_a_business_never_has_two_queued_turns(db: Session, cast: Cast) -> None:
    assert [queue.wake_now(cast.acme.id, "default") for _ in range(3)] == [True, False, False]
    (ticket,) = queue.connection().mget(f"sluice:{cast.acme.id}:turn:default")
    queue.begin_turn(cast.acme.id, "default", "a ticket of an older turn")
    assert not queue.wake_now(cast.acme.id, "default")
    queue.begin_turn(cast.acme.id, "default", ticket.decode())
    assert queue.wake_now(cast.acme.id, "default")


def test_a_turn_whose_mark_was_lost_leaves_the_work_to_the_one_queued_after_it(
    db: Session, cast: Cast, start: Start
) -> None:
    """Two turns of one business would be two shares. The second one stands where its turn is."""
    acmes, globex = submit("test.note", business="acme"), submit("test.note", business="globex")
    queue.flush()
    redis = queue.connection()
    redis.delete("rq:queue:default", *redis.keys("sluice:*"))
    assert queue.wake_now(cast.acme.id, "default")
    redis.delete(f"sluice:{cast.acme.id}:turn:default")
    assert queue.wake_now(cast.globex.id, "default")
    assert queue.wake_now(cast.acme.id, "default")
    assert queue.turns_queued("default") == 3
    start("worker", "default")
    until(lambda: {state(acmes), state(globex)} == {"completed"})
    ended = look.scalars(select(Attempt.task_id).order_by(Attempt.ended_at))
    assert ended == [globex, acmes]
    assert not redis.exists(f"sluice:{cast.acme.id}:turn:default")


def test_a_job_that_is_not_a_turn_is_refused_and_stops_nobody(
    db: Session, cast: Cast, start: Start, tmp_path: Path
) -> None:
    """Whoever reaches Redis must not run code."""
    target = tmp_path / "owned"
    foreign = Queue("default", connection=queue.connection(), serializer=JSONSerializer)
    foreign.enqueue("os.system", f"touch {target}")
    foreign.enqueue("jobs.turns.run", 1, "default", "ticket", "one too many")
    queue.connection().rpush("rq:queue:default", "nonsense")
    start("worker", "default")
    id_ = submit("test.note", business="acme")
    until(lambda: state(id_) == "completed")
    assert not target.exists()


@pytest.mark.parametrize("business_id", [0, -1, 2**31, 10**30])
def test_a_turn_of_a_business_that_cannot_be_is_a_foreign_job(valkey: str, business_id: int) -> None:
    """Else the database would refuse it each time, and its worker would queue it anew each time."""
    turn = queue.Turn.create(queue.RUN, args=(business_id, "default", "ticket"), connection=queue.connection())
    with pytest.raises(queue.ForeignJob):
        _ = turn.about


def test_workers_and_scheduler_go_on_when_redis_comes_back_empty(db: Session, cast: Cast, start: Start) -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        redis = Valkey(Path(folder))
        start("scheduler", **QUICK, REDIS_URL=redis.url)
        start("worker", "default", **QUICK, REDIS_URL=redis.url)
        before = submit("test.note", business="acme")
        until(lambda: state(before) == "completed")
        redis.stop()
        ids = [submit("test.note", business=slug) for slug in ("acme", "globex")]
        redis = Valkey(Path(folder))
        until(lambda: all(state(id_) == "completed" for id_ in ids))
        redis.stop()


def test_redis_that_neither_answers_nor_refuses_costs_no_task_its_lease_and_no_submit_its_task(
    db: Session, cast: Cast, start: Start, notes: Notes, valkey: str
) -> None:
    """A network that drops everything. The worker renews the lease of its long task all the same."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        line = Line(Path(urlsplit(valkey).path), Path(folder) / "r.sock")
        far = f"unix://{folder}/r.sock?db=0"
        start("scheduler", **QUICK)
        behind = start("worker", "default", **{**QUICK, "LEASE_SECONDS": "2"}, REDIS_URL=far)
        long = submit("test.note", business="acme", payload={"seconds": 8})
        until(notes)
        line.hang()
        start("worker", "default", **QUICK)
        queue.connect(far)
        later = submit("test.note", business="globex")
        until(lambda: state(later) == "completed")
        until(lambda: state(long) == "completed")
        behind.kill()
        queue.connection().connection_pool.disconnect()
        queue.connect(valkey)
        line.close()
    assert (outcomes(long), outcomes(later)) == (["completed"], ["completed"])


def test_waiting_tasks_follow_their_type_to_another_queue(db: Session, cast: Cast, work: Callable[..., None]) -> None:
    id_ = submit("test.note", business="acme")
    db.execute(update(Task).where(Task.id == id_).values(queue="of.last.year"))
    db.commit()
    work("default")
    assert state(id_) == "pending"
    Beat()()
    work("default")
    assert state(id_) == "completed"


def test_a_task_that_yesterdays_code_gives_back_later_follows_its_type_too(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.beat._MOVE_AGAIN_SECONDS", 0.0)
    beat = Beat()
    beat.move_to_queues()
    id_ = submit("test.note", business="acme")
    db.execute(update(Task).where(Task.id == id_).values(queue="of.last.year"))
    db.commit()
    beat.move_to_queues()
    assert look.task(id_).queue == "default"


@pytest.mark.parametrize("mark", [b"\xff\xfe", {"a": "hash"}])
def test_a_foreign_mark_in_redis_stops_no_beat(db: Session, cast: Cast, mark: object) -> None:
    for slug in ("acme", "globex"):
        submit("test.note", business=slug)
    queue.flush()
    redis, beat = queue.connection(), Beat()
    redis.flushall()
    name = f"sluice:{cast.acme.id}:turn:default"
    redis.hset(name, mapping=mark) if isinstance(mark, dict) else redis.set(name, mark)
    beat()
    beat()
    assert queue.turns_queued("default") == (1 if isinstance(mark, dict) else 2)


def test_another_scheduler_takes_over_when_the_leader_is_killed(db: Session, cast: Cast, start: Start) -> None:
    leader = start("scheduler")
    redis = queue.connection()
    lead = until(lambda: redis.get("sluice:scheduler:lock"))
    start("scheduler")
    leader.kill()
    until(lambda: redis.get("sluice:scheduler:lock") not in (None, lead))
    submit("test.note", business="acme")
    queue.flush()
    redis.delete("rq:queue:default", f"sluice:{cast.acme.id}:turn:default")  # so that only a beat can queue it
    until(lambda: queue.turns_queued("default") == 1)
