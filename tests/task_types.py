"""Task types for tests. They write what really happened to a file: the tests' witness outside SQL and Redis."""

from __future__ import annotations

import os
import time

from jobs import Retry, TaskContext, task_type


def witness(line: str) -> None:
    """Append a line, atomically, with the machine's monotonic clock in front."""
    path = os.environ.get("WITNESS")
    if path:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{time.monotonic()} {line}\n".encode())
        os.close(handle)


@task_type("test.note", title="Take a note")
def note(task: TaskContext, *, seconds: float = 0.0) -> dict[str, int]:
    witness(f"{task.business} {task.id} {task.attempt} {os.getpid()}")
    if seconds:
        time.sleep(seconds)
    return {"pid": os.getpid()}


@task_type("test.other", title="Something else")
def other(task: TaskContext, *, seconds: float = 0.0) -> None:
    note(task, seconds=seconds)


@task_type("test.fail", title="Fail")
def fail(task: TaskContext, *, text: str = "no such file") -> None:
    raise LookupError(text)


@task_type("test.again", title="Try again", max_attempts=3, retry_seconds=0)
def again(task: TaskContext, *, succeed_at: int = 2, how: str = "retry") -> str:
    if task.attempt < succeed_at:
        raise Retry("not yet") if how == "retry" else ConnectionError("refused")
    return "at last"


@task_type("test.talk", title="Talk")
def talk(task: TaskContext, *, lines: int = 2, seconds: float = 0.0) -> None:
    with task.step("Talking"):
        for number in range(lines):
            task.log(f"line {number} \x00 \ud800")
        task.progress(lines, lines)
        time.sleep(seconds)


@task_type("test.odd", title="Odd result")
def odd(task: TaskContext, *, what: str) -> object:
    if what == "exit":
        raise SystemExit(3)
    return {"set": {1}, "nan": float("nan"), "huge": "x" * 70_000, "int": 2**70, "none": None}[what]
