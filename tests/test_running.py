"""`make run`, the one command: up, down, and every way in which it says no."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import until

ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.Popen[str]]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start run.py with settings; it is stopped at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(**settings: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "DATA_DIR": str(tmp_path / "var"), "DEMO": "1", **settings}
        process = subprocess.Popen(
            [sys.executable, "run.py"],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


def ready(process: subprocess.Popen[str]) -> str:
    """What it printed until it was ready."""
    said = ""
    for line in process.stdout or ():
        said += line
        if line.startswith("Ctrl-C"):
            return said
    raise AssertionError(said)


def descendants(pid: int) -> set[int]:
    """Every process below this one, workers' horses included."""
    below = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return below.union(*(descendants(child) for child in below))


def alive(pids: set[int]) -> set[int]:
    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return {pid for pid in pids if lives(pid)}


def test_it_prints_the_address_and_the_demo_logins_when_everything_answers(run: Run) -> None:
    port = free_port()
    said = ready(run(PORT=port, WORKERS="1"))
    assert f"http://127.0.0.1:{port}" in said
    for name in ("ada", "ben", "cleo", "zoe", "root"):
        assert f"{name}@example.com" in said
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_leaves_no_process_behind(run: Run, how: signal.Signals) -> None:
    process = run(PORT=free_port(), WORKERS="2")
    ready(process)
    below = descendants(process.pid)
    assert len(below) >= 6, "broker, web, its process, two workers, scheduler"
    process.send_signal(how)
    until(lambda: not alive(below), seconds=5)
    assert process.wait(timeout=5) == (-signal.SIGKILL if how is signal.SIGKILL else 0)


def test_it_starts_again_what_dies(run: Run) -> None:
    process = run(PORT=free_port(), WORKERS="1")
    ready(process)
    worker = next(
        pid for pid in descendants(process.pid) if b"jobs.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)

    def another() -> bool:
        command_lines = [
            Path(f"/proc/{pid}/cmdline").read_bytes() for pid in alive(descendants(process.pid)) - {worker}
        ]
        return any(b"jobs.worker" in line for line in command_lines)

    until(another)


def test_the_second_start_keeps_accounts_tasks_and_key(run: Run, tmp_path: Path) -> None:
    first = run(PORT=free_port(), WORKERS="0")
    ready(first)
    first.terminate()
    first.communicate(timeout=10)
    key = (tmp_path / "var" / "secret_key").read_text()
    ready(run(PORT=free_port(), WORKERS="0"))
    assert (tmp_path / "var" / "secret_key").read_text() == key
    assert (tmp_path / "var" / "secret_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"REDIS_URL": "redis://:secret@127.0.0.1:1/0"}, "no Redis or Valkey answers at redis://127.0.0.1:1/0"),
        ({"TASK_MODULES": "no.such.module"}, "task module 'no.such.module': ModuleNotFoundError"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "the database: "),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"PORT": "http"}, "PORT"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_1(run: Run, wrong: dict[str, str], says: str) -> None:
    process = run(**{"PORT": free_port(), **wrong})
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert says in said
    assert len(said.strip().splitlines()) == 1
    assert "secret" not in said


def test_a_port_in_use_is_one_line_and_status_1(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = run(PORT=str(port))
        said, _ = process.communicate(timeout=20)
    assert (process.returncode, len(said.strip().splitlines())) == (1, 1)
    assert str(port) in said
