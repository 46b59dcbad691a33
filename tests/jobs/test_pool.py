"""Several workers from one process: it forks them, forks again what dies, and ends with the last of them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs import queue, submit
from jobs.models import Attempt, Task
from tests import look
from tests.factories import Cast
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Notes = Callable[[], list[list[str]]]


def workers() -> set[int]:
    """The process ids of the registered workers that live."""
    names = {name.decode().rpartition(":")[2] for name in queue.connection().smembers("rq:workers")}
    pids = {int(name.split("-")[-2]) for name in names}
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def test_a_pool_keeps_its_number_of_workers(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    start("worker", "default", "--processes", "3")
    until(lambda: len(workers()) == 3)
    first = workers()
    ids = [submit("test.note", business=slug, payload={"seconds": 0.5}) for slug in ("acme", "globex", "initech")]
    until(lambda: len({note[4] for note in notes()}) == 3)
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers() - {victim}) == 3)
    assert len(workers() & first) == 2, "the others went on"
    until(lambda: look.scalar(select(func.count()).where(Task.id.in_(ids), Task.state == "completed")) >= 2)


def test_a_pool_that_is_told_to_stop_lets_each_worker_end_its_task(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    pool = start("worker", "default", "--processes", "2")
    ids = [submit("test.note", business=slug, payload={"seconds": 1.5}) for slug in ("acme", "globex")]
    until(lambda: len({note[4] for note in notes()}) == 2)
    pool.terminate()
    assert pool.wait(timeout=15) == 0
    assert workers() == set()
    assert look.scalars(select(Attempt.outcome).where(Attempt.task_id.in_(ids))) == ["completed"] * 2


def test_a_pool_takes_its_workers_with_it(db: Session, cast: Cast, start: Start) -> None:
    pool = start("worker", "default", "--processes", "2")
    below = until(lambda: len(workers()) == 2 and workers())
    pool.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), seconds=5)
