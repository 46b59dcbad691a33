"""The machine's own task types: quick handlers that do as the payload says and tell the machine that they began."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from jobs import Interrupted, Retry, TaskContext, task_type, task_types

LATER = 2000.0  # seconds until the next attempt, when a handler asks for a delay
QUEUE_OF = {"machine.twice": "machine", "machine.thrice": "machine", "machine.once": "aside"}
CANARY = "a payload that nobody may find in Redis"
PLANS = ("done", "fail", "retry", "retry now", "stop")

_listeners: list[Callable[[int, int], None]] = []


def do(task: TaskContext, *, plan: list[str] | None = None, note: str = "") -> dict[str, str]:
    """What the plan has for this attempt; after its end all goes well."""
    for listener in _listeners:
        listener(task.id, task.attempt)
    task.log("at work")
    plan = plan or []
    return ACTS[plan[task.attempt - 1] if task.attempt <= len(plan) else "done"]()


def _retry(delay: float) -> dict[str, str]:
    raise Retry("not yet", delay=delay)


def _fail() -> dict[str, str]:
    raise LookupError("no such file")


def _stop() -> dict[str, str]:
    raise Interrupted("nothing to do")


ACTS: dict[str, Callable[[], dict[str, str]]] = {
    "done": lambda: {"said": "done"},
    "fail": _fail,
    "retry": lambda: _retry(LATER),
    "retry now": lambda: _retry(0.0),
    "stop": _stop,
}


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Only the machine's task types, for a while: a beat asks about each queue, and no other test may see them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_types, "_registry", {})
        for name, attempts in (("machine.once", 1), ("machine.twice", 2), ("machine.thrice", 3)):
            task_type(name, title=name, queue=QUEUE_OF[name], max_attempts=attempts)(do)
        yield


@contextlib.contextmanager
def listening(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Call `listener` with task and attempt whenever a handler begins, and in the middle of it."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
