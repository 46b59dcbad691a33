"""Task types for chaos. Each handler appends its begin and its end to the witness file, in one write each.

The file is the witness outside SQL and Redis: what is in it has happened, whatever the stores say.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from jobs import Retry, TaskContext, submit, task_type
from tests.chaos.profiles import FLAKY_SECONDS

QUEUE = "chaos"
CHILDREN = "chaos.children"

_life: dict[int, str] = {}  # process ids come again within a long run, so a process also has a name of its own


@task_type("chaos.quick", title="Quick", queue=QUEUE)
def quick(task: TaskContext, *, call: str, seconds: float) -> dict[str, int]:
    with _seen(task):
        time.sleep(seconds)
    return _result(task)


@task_type("chaos.longer", title="Longer", queue=QUEUE)
def longer(task: TaskContext, *, call: str, seconds: float) -> dict[str, int]:
    with _seen(task):
        time.sleep(seconds)
    return _result(task)


@task_type("chaos.flaky", title="Fail at first", queue=QUEUE)
def flaky(task: TaskContext, *, call: str, seconds: float) -> dict[str, int]:
    with _seen(task):
        time.sleep(seconds)
        if task.attempt == 1:
            raise Retry("only the first time", delay=FLAKY_SECONDS)
    return _result(task)


@task_type("chaos.poison", title="Kill the process that runs it", queue=QUEUE, max_attempts=3)
def poison(task: TaskContext, *, call: str, seconds: float) -> None:
    _write("begin", task)
    os.kill(os.getpid(), signal.SIGKILL)


@task_type("chaos.deaf", title="Hear nothing", queue=QUEUE)
def deaf(task: TaskContext, *, call: str, seconds: float) -> dict[str, int]:
    """Swallows whatever is raised into it, and ignores SIGTERM."""
    with _seen(task), _ignoring(signal.SIGTERM):
        ends_at = time.monotonic() + seconds
        while True:
            try:
                while time.monotonic() < ends_at:
                    time.sleep(0.05)
                return _result(task)
            except BaseException:  # noqa: BLE001, S112 - that is the point
                continue


@task_type("chaos.parent", title="Submit children", queue=QUEUE, retry_seconds=0.5, retry_on=(SQLAlchemyError,))
def parent(task: TaskContext, *, call: str, seconds: float, children: int = 2) -> dict[str, int]:
    with _seen(task):
        for number in range(children):
            name = f"{call}.{task.attempt}.{number}"
            id_ = submit("chaos.child", business=task.business, payload={"call": name, "seconds": seconds})
            _write("child", task, f"{name}={id_}")
    return _result(task)


@task_type("chaos.child", title="Child", queue=CHILDREN)
def child(task: TaskContext, *, call: str, seconds: float) -> dict[str, int]:
    with _seen(task):
        time.sleep(seconds)
    return _result(task)


@contextlib.contextmanager
def _seen(task: TaskContext) -> Iterator[None]:
    """Witness the block. How it ended stands in the last word: `done`, or the name of what was raised."""
    _write("begin", task)
    how = "done"
    try:
        yield
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        _write("end", task, how)


@contextlib.contextmanager
def _ignoring(number: signal.Signals) -> Iterator[None]:
    """Only the main thread may say so; in another one a signal does not arrive anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def _result(task: TaskContext) -> dict[str, int]:
    return {"attempt": task.attempt, "pid": os.getpid()}


def _write(word: str, task: TaskContext, detail: str = "-") -> None:
    path = os.environ.get("WITNESS")
    if not path:
        return
    me = os.getpid()
    life = _life.setdefault(me, secrets.token_hex(4))
    line = f"{time.monotonic():.6f} {word} {task.business} {task.id} {task.attempt} {me} {life} {detail}\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode())
    os.close(handle)
