"""What tests of the engine need: turns in this process, and real workers beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from jobs import claims, queue, task_types, turns
from jobs.models import Task
from tenants.database import transaction

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _types(valkey: str) -> Iterator[None]:
    """The task types and the broker, in this process; no wake of this test arrives in the next one."""
    task_types.load(("tests.task_types",))
    queue.connect(valkey)
    yield
    queue.flush()


@pytest.fixture(autouse=True)
def _time_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat of the tests forgets all that is old, however slow the machine is."""
    monkeypatch.setattr("jobs.beat._FORGET_SECONDS", 60.0)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """What `test.note` really did, line by line: time, business, task id, attempt, process id."""
    path = tmp_path / "witness"
    path.touch()
    monkeypatch.setenv("WITNESS", str(path))
    return lambda: [line.split() for line in path.read_text().splitlines()]


@pytest.fixture
def work() -> Callable[..., None]:
    """Take turns here until nothing is ready. Mostly one is enough; a busy machine gives claims back unbegun."""

    def take_turns(*queues: str) -> None:
        for name in queues or task_types.queues():
            with transaction(read_only=True) as session:
                everyone = list(session.scalars(select(Task.business_id).where(Task.queue == name).distinct()))
            for business_id in everyone:
                turns.run(business_id, name, "here")
                for _ in range(20):
                    with transaction(read_only=True) as session:
                        if not claims.any_ready(session, business_id, name):
                            break
                    turns.run(business_id, name, "here")

    return take_turns


@pytest.fixture
def start(database_url: str, valkey: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `worker` or `scheduler` as a process; all are killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(
        module: str, *arguments: str, process_group: int | None = None, **settings: str
    ) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey,
            "DATA_DIR": str(tmp_path),
            "TASK_MODULES": "tests.task_types",
            **settings,
        }
        command = [sys.executable, "-m", f"jobs.{module}", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, process_group=process_group)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.wait()
