"""Task types for tests. They write what really happened to a file: the tests' witness outside SQL and Redis."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator
from sqlalchemy import update

from jobs import Interrupted, Retry, TaskContext, attempts, node_lookup, submit, task_type
from jobs.models import Task
from tenants.database import transaction


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


@node_lookup
def node(business: str, id_: object) -> dict[str, object] | None:
    if id_ == "broken":
        raise LookupError("no such table")
    return None if id_ == "unknown" else {"Name": f"<b>Pump {id_}</b>", "Site": business, "Bar": 2.5}


def _in_words(result: dict[str, Any]) -> str | dict[str, Any]:
    rows: int = result["rows"]
    return f"<i>{rows}</i> rows\nand no more" if result["text"] else {"Rows": rows, "Half": rows // 2}


@task_type("test.shown", title="Show the result in words", show_result=_in_words, secrets=("node_id",))
def shown(task: TaskContext, *, node_id: str = "") -> None:
    return None


@task_type("test.odd", title="Odd result")
def odd(task: TaskContext, *, what: str) -> object:
    if what == "exit":
        raise SystemExit(3)
    shared: list[Any] = functools.reduce(lambda inner, _: [inner, inner], range(60), [])
    results = {"set": {1}, "nan": float("nan"), "huge": "x" * 70_000, "shared": shared, "int": 2**70, "none": None}
    return results[what]


_shared: list[int] = []


@task_type("test.shared", title="Return the same list again and again")
def shared(task: TaskContext) -> list[int]:
    if len(_shared) == 3:
        _shared.clear()
    _shared.append(len(_shared) + 1)
    return _shared


@task_type("test.any", title="Take anything")
def anything(task: TaskContext, *, value: Any) -> None:
    return None


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class _Bare(Retry):
    def __init__(self) -> None:
        pass


class _Odd:
    def __float__(self) -> float:
        raise RuntimeError("no number")


@task_type("test.poison", title="Misbehave")
def poison(task: TaskContext, *, how: str) -> Any:
    if how == "fork":
        if os.fork() == 0:
            raise SystemExit(0)
        return "the parent's own"
    if how == "progress":
        return task.progress(2**70, 2**70)
    if how == "deep":
        return functools.reduce(lambda inner, _: [inner], range(950), [])
    raise {
        "endless": Retry("later", delay=float("inf")),
        "words": Retry("later", delay="soon"),  # type: ignore[arg-type]
        "enormous": Retry("later", delay=10**400),
        "odd": Retry("later", delay=_Odd()),  # type: ignore[arg-type]
        "bare": _Bare(),
        "timedelta": Retry("later", delay=timedelta(minutes=5)),
        "mute": _Mute(),
        "long": LookupError("x" * 20_000),
        "cancelled": asyncio.CancelledError(),
        "keyboard": KeyboardInterrupt(),
    }[how]


@task_type("test.clean", title="Run until interrupted, then clean up")
def clean(task: TaskContext) -> None:
    witness(f"{task.business} {task.id} began {os.getpid()}")
    try:
        time.sleep(30)
    finally:
        witness(f"{task.business} {task.id} cleaned {os.getpid()}")


@task_type("test.deaf", title="Hear nothing")
def deaf(task: TaskContext, *, how: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    witness(f"{task.business} {task.id} began {os.getpid()}")
    witness(f"{task.business} {task.id} child {child.pid}")
    ends_at = time.monotonic() + 30
    if how == "hold":
        sum(range(10**10))  # minutes of C code that keeps the interpreter to itself
    while time.monotonic() < ends_at:
        with contextlib.suppress(BaseException):
            time.sleep(1)


@task_type("test.interrupt_me", title="Be interrupted at the last moment")
def interrupt_me(task: TaskContext) -> str:
    with transaction() as session:
        session.execute(update(Task).where(Task.id == task.id).values(state="cancelling"))
    return "too late"


@task_type("test.give_up", title="Give up")
def give_up(task: TaskContext) -> None:
    raise Interrupted("nothing to do")


@task_type("test.slow", title="Be too slow", timeout=0.3, max_attempts=2, retry_seconds=0)
def slow(task: TaskContext) -> None:
    time.sleep(30)


@task_type("test.suicide", title="Kill its own process", max_attempts=3)
def suicide(task: TaskContext) -> None:
    witness(f"{task.business} {task.id} {task.attempt} {os.getpid()}")
    os.kill(os.getpid(), signal.SIGKILL)


@task_type("test.leave", title="End its own process as if all were well", max_attempts=2)
def leave(task: TaskContext) -> None:
    witness(f"{task.business} {task.id} {task.attempt} {os.getpid()}")
    os._exit(0)


def _end_after_the_handler() -> None:
    while attempts._at_work:
        time.sleep(0)
    os._exit(0)


@task_type("test.last_word", title="Leave a thread that ends its process as if all were well", max_attempts=2)
def last_word(task: TaskContext) -> None:
    if task.attempt == 1:
        threading.Thread(target=_end_after_the_handler, daemon=True).start()


def _kill(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task_type("test.deadly", title="Kill its process by its payload", max_attempts=2)
def deadly(task: TaskContext, *, value: Annotated[Any, BeforeValidator(_kill)]) -> None:
    return None


@task_type("test.daemon", title="Leave a process behind")
def daemon(task: TaskContext) -> None:
    script = "import subprocess as s; print(s.Popen(['sleep', '60'], start_new_session=True, stdout=s.DEVNULL).pid)"
    pid = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout
    witness(f"{task.business} {task.id} daemon {pid.strip()}")


@task_type("test.secret", title="Keep a secret", max_attempts=2, retry_seconds=0, secrets=("password", "pin"))
def secret(task: TaskContext, *, password: Any, pin: int = 0, login: Any = None, how: str = "return") -> object:
    said = [password, repr(password), json.dumps(password), f"{pin} {pin:,}", repr(repr(login)), json.dumps(login)]
    witness(f"{task.business} {task.id} {task.attempt} {os.getpid()}")
    with task.step(f"Logging in with {password}"):
        for one in said:
            task.log(f"said {one}")
        task.log("x" * 3_995 + str(password))
    if how == "retry" and task.attempt == 1:
        raise Retry(f"wrong: {password}")
    if how == "shared":
        return odd(task, what="shared")
    if how == "raise":
        raise LookupError(password) from ConnectionError(said)
    return {"said": said, "number": pin, str(password): [login], "odd": {(password,): 1} if how == "odd" else None}


@task_type("test.open", title="Take its time", timeout=600)
def patient(task: TaskContext, *, seconds: float = 0.0, lines: int = 0, retry: bool = False, how: str = "") -> str:
    witness(f"{task.business} {task.id} {task.attempt} {os.getpid()}")
    for number in range(lines):
        task.log(f"line {number}")
    task.progress(1, 2)
    time.sleep(seconds)
    if how == "stop":
        raise KeyboardInterrupt
    if how == "fail":
        raise LookupError("no such file")
    if retry and task.attempt < 2:
        raise Retry("not yet", delay=0)
    return "done"


@task_type("test.span", title="Note begin and end")
def span(task: TaskContext, *, seconds: float = 0.0) -> None:
    witness(f"{task.business} {task.id} began {os.getpid()}")
    time.sleep(seconds)
    witness(f"{task.business} {task.id} ended {os.getpid()}")


@task_type("test.lone", title="One at a time", queue="aside", max_running=1)
def lone(task: TaskContext, *, seconds: float = 0.0) -> None:
    span(task, seconds=seconds)


@task_type("test.aside", title="In a queue of its own", queue="aside")
def aside(task: TaskContext, *, seconds: float = 0.0) -> None:
    span(task, seconds=seconds)


@task_type("test.hog", title="Hold a lock and the interpreter", max_attempts=1)
def hog(task: TaskContext) -> None:
    with transaction() as session:
        session.execute(update(Task).where(Task.id == task.id).values(step="mine"))
        sum(range(10**10))


@task_type("test.nest", title="Submit another")
def nest(task: TaskContext) -> int:
    return submit("test.note", business=task.business, user=task.user)
