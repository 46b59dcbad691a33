"""What a turn costs, counted: whatever it does beside its tasks, it does for every task that comes alone."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis import Redis
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session

from jobs import limits, pauses, rehearsal, settling, submit, submit_many, task_types, turns
from jobs.judge import Target
from jobs.models import Task
from tests import look
from tests.factories import Cast
from tests.waiting import until

_TASKS = 6


def test_a_turn_of_one_short_task_has_one_connection_and_few_heartbeats(
    db: Session,
    cast: Cast,
    start: Callable[..., subprocess.Popen[bytes]],
    notes: Callable[[], list[list[str]]],
    valkey: str,
) -> None:
    start("worker", "default", TASK_MODULES="tests.task_types,tests.connections")
    run_one()
    began, before = time.monotonic(), heartbeats(valkey)
    for _ in range(_TASKS):
        run_one()
    told = notes()
    connections = Counter(line[2] for line in told if line[1] == "connected")
    horses = [line[4] for line in told if line[1] == "acme"]
    assert len(set(horses)) == _TASKS + 1
    assert [connections[horse] for horse in horses].count(1) > _TASKS / 2, "the rest had a slow moment"
    assert heartbeats(valkey) - before <= 1 + (time.monotonic() - began) / 5


def test_a_turn_of_many_short_tasks_has_one_connection_too(
    db: Session, cast: Cast, start: Callable[..., subprocess.Popen[bytes]], notes: Callable[[], list[list[str]]]
) -> None:
    """It looks between them whether others could help; only a long task needs somebody who looks beside it."""
    start("worker", "default", TASK_MODULES="tests.task_types,tests.connections", SLICE_SECONDS="0.2")
    submit_many("test.note", [{}] * 4_000, business="acme")
    completed = select(func.count()).where(Task.state == "completed")
    until(lambda: look.scalar(completed) == 4_000, seconds=60)
    told = notes()
    connections = Counter(line[2] for line in told if line[1] == "connected")
    tasks = Counter(line[4] for line in told if line[1] == "acme")
    busy = [horse for horse, count in tasks.items() if count > 400]
    assert [connections[horse] for horse in busy].count(1) >= len(busy) / 2 > 0, "the rest had a slow moment"


def test_a_spare_horse_asks_nothing_twice(engine: Engine, cast: Cast) -> None:
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *about: asked.append(about[2]))
    assert len(task_types.queues()) > 1
    rehearsal.limber()
    asked = [one for one in asked if not one.startswith(("PRAGMA", "BEGIN"))]
    assert asked
    assert len(asked) == len(set(asked))


def test_a_batch_is_claimed_and_recorded_in_few_statements(db: Session, cast: Cast, engine: Engine) -> None:
    """A turn's first claim asks for names, too. However many tasks: nothing is asked for each."""
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *about: asked.append(about[2]))

    def statements(act: Callable[[], object]) -> int:
        asked.clear()
        act()
        return sum(not one.startswith(("PRAGMA", "BEGIN", "SELECT pg_advisory")) for one in asked)

    def rest_of(turn: turns._Turn) -> int:
        """Run what is claimed; the statements that write it down and claim what follows."""
        while begun := turn.next():
            turn.perform(*begun)
        turn._usual_seconds = 0.0001
        return statements(turn.exchange)

    submit_many("test.note", [{}] * 200, business="acme", user="ben@example.com")
    turn = turns._Turn(cast.acme.id, "default")
    first, claimed = statements(turn.exchange), len(turn._unbegun)
    second, then = rest_of(turn), len(turn._unbegun)
    assert (claimed, then) == (1, 199)
    assert (first, second) == (5, 5), asked
    assert rest_of(turn) <= 5


def test_a_turn_leaves_the_orm_alone(db: Session, cast: Cast, engine: Engine) -> None:
    """To configure its classes takes 40 ms and half a megabyte of each horse."""
    limits.set(db, cast.root, cast.acme.id, 3, "test.note")
    ended = pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.cleo.user.id), "on leave")
    pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id, task_type="test.note"), "too many")
    submit_many("test.note", [{}] * 9, business="acme", user="cleo@example.com", session=db)
    db.flush()
    settling.settle(db, cast.acme.id)
    pauses.resume(db, cast.ada, ended.id)
    db.commit()
    asked: list[Any] = []
    event.listen(engine, "before_cursor_execute", lambda *about: about[4] and asked.append(about[4].compiled))
    submit("test.note", business="acme", unique_key="one")
    turn = turns._Turn(cast.acme.id, "default")
    turn._usual_seconds = 0.001
    while turn.exchange():
        while begun := turn.next():
            turn.perform(*begun)
    turn.call_for_more(is_last=True)
    assert turn.claimed == 10
    assert [str(one) for one in asked if one and type(one.compile_state).__module__.startswith("sqlalchemy.orm")] == []


def test_a_turn_asks_redis_little(
    db: Session,
    cast: Cast,
    start: Callable[..., subprocess.Popen[bytes]],
    notes: Callable[[], list[list[str]]],
    valkey: str,
) -> None:
    """Some twenty for submit, wake and turn, those within scripts counted. One RQ job a task takes 54 for itself."""
    start("worker", "default")
    run_one()
    before = commands(valkey)
    for _ in range(_TASKS):
        run_one()
    assert (commands(valkey) - before) / _TASKS <= 27


def run_one() -> None:
    task_id = submit("test.note", business="acme")
    until(lambda: look.task(task_id).state == "completed")


def commands(url: str) -> int:
    """How many there were, those within scripts included."""
    with Redis.from_url(url) as redis:
        told: Any = redis.info("commandstats")
        return sum(int(one["calls"]) for one in told.values())


def heartbeats(url: str) -> int:
    """How many there were: nothing else tells Redis how long to remember a worker."""
    with Redis.from_url(url) as redis:
        told: Any = redis.info("commandstats")
        return int(told["cmdstat_expire"]["calls"])
