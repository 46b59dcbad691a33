"""Several workers from one process: it forks them, forks again what dies, and ends with the last of them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs import queue, submit
from jobs.models import Attempt, Task
from jobs.pool import Pool
from tests import look
from tests.factories import Cast
from tests.jobs.conftest import ROOT
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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_a_pool_lets_each_worker_end_its_task(
    db: Session, cast: Cast, start: Start, notes: Notes, how: signal.Signals
) -> None:
    """So do Ctrl-C and systemd. The pool passes it on, and a second one would end what runs at once."""
    pool = start("worker", "default", "--processes", "2", process_group=0)
    ids = [submit("test.note", business=slug, payload={"seconds": 1.5}) for slug in ("acme", "globex")]
    until(lambda: len({note[4] for note in notes()}) == 2, seconds=60)
    os.killpg(pool.pid, how)
    assert pool.wait(timeout=60) == 0
    assert look.scalars(select(Attempt.outcome).where(Attempt.task_id.in_(ids))) == ["completed"] * 2


def test_a_pool_takes_its_workers_with_it(db: Session, cast: Cast, start: Start) -> None:
    pool = start("worker", "default", "--processes", "2")
    below = until(lambda: len(workers()) == 2 and workers())
    pool.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), seconds=5)


def test_where_nothing_more_can_be_forked_what_runs_goes_on(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    """Here there is room for one more open file, and a horse needs a pipe. The worker killed the one at work."""
    worker = start("worker", "default", LEASE_SECONDS="600")
    warm_up = submit("test.note", business="acme")
    until(lambda: look.task(warm_up).state == "completed", seconds=60)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    [gone] = look.scalars(select(Attempt.pid))
    until(lambda: len(now := children.read_text().split()) == 1 and str(gone) not in now, seconds=60)  # the spare alone
    usual = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (_second_free(worker.pid), usual[1]))
    first = submit("test.note", business="acme", payload={"seconds": 1})
    until(lambda: look.task(first).state == "completed", seconds=60)
    second = submit("test.note", business="acme")
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, usual)
    until(lambda: look.task(second).state == "completed", seconds=60)
    assert look.scalars(select(Attempt.outcome)) == ["completed"] * 3
    assert worker.poll() is None, "the same worker"


def test_a_stop_that_meets_a_worker_just_gone_ends_no_pool(cast: Cast) -> None:
    pool = Pool(1, lambda: 0)
    gone = subprocess.Popen(["true"])
    gone.wait()
    pool._places[0] = gone.pid
    pool._stop(signal.SIGTERM, None)
    assert pool._stops == 1


_BESIDE = """
import threading, time, processes
def come_and_go():
    while True:
        one = threading.Thread(target=int)
        one.start()
        one.join()
threading.Thread(target=come_and_go, daemon=True).start()
ends_at = time.monotonic() + 3
while time.monotonic() < ends_at:
    processes.end_children(())
"""


def test_ending_children_bears_threads_that_end_meanwhile() -> None:
    """A worker whose own thread ended at this moment quit, and gave its horse up."""
    asked = subprocess.run([sys.executable, "-c", _BESIDE], cwd=ROOT, check=False)
    assert asked.returncode == 0


def _second_free(pid: int) -> int:
    """The second number that a process has no open file for."""
    used = {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}
    return sorted(set(range(len(used) + 2)) - used)[1]
