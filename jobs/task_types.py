"""Task types: the registered kinds of work, and how a Python function becomes one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from tenants.errors import Invalid

BUILTIN_MODULES = ("jobs.builtin.count", "jobs.builtin.export", "jobs.builtin.script")
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_registry: dict[str, TaskType] = {}
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class UnknownTaskType(Invalid):
    """No task type of this name is registered."""


class BadTaskModule(Exception):
    """A module named by TASK_MODULES cannot be imported; the message is one line."""


@dataclass(frozen=True)
class TaskType:
    """A kind of work. `retry_seconds` is the wait before the next attempt."""

    name: str
    title: str
    queue: str
    handler: Callable[..., Any]
    max_attempts: int = 10
    retry_seconds: float = 30.0
    retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)
    timeout: float | None = None


def task_type(
    name: str,
    *,
    title: str,
    queue: str = "default",
    max_attempts: int = 10,
    retry_seconds: float = 30.0,
    retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
    timeout: float | None = None,
) -> Callable[[_Handler], _Handler]:
    """Register the function below as the handler of a task type.

    Its first parameter is the `task` (see `jobs.context.TaskContext`), all others are the payload. It returns the
    result (JSON), raises `Retry`, or raises anything else to fail.
    """
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(queue):
        raise ValueError(f"task type {name!r} in queue {queue!r}: both are lower-case words joined by dots")

    def register(handler: _Handler) -> _Handler:
        standing = _registry.get(name)
        if standing and standing.handler.__module__ != handler.__module__:
            raise ValueError(f"task type {name!r} is registered by {standing.handler.__module__} already")
        _registry[name] = TaskType(name, title, queue, handler, max_attempts, retry_seconds, retry_on, timeout)
        return handler

    return register


def load(modules: Iterable[str]) -> None:
    """Import the built-in task types and the modules named. BadTaskModule tells what is wrong with one."""
    for module in (*BUILTIN_MODULES, *modules):
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a module of somebody else does when it is imported
            raise BadTaskModule(f"task module {module!r}: {type(error).__name__}: {error}") from error


def get(name: str) -> TaskType:
    """The type of this name, or UnknownTaskType."""
    try:
        return _registry[name]
    except KeyError:
        raise UnknownTaskType(f"No task type {name!r} is registered.", field="task_type") from None


def all_types() -> Collection[TaskType]:
    """Every registered type, by title."""
    return sorted(_registry.values(), key=lambda one: (one.title.lower(), one.name))


def queues() -> list[str]:
    """Every queue that a registered type belongs to."""
    return sorted({one.queue for one in _registry.values()})


def title_of(name: str) -> str:
    """The title of a type; of one that is not registered here, its name."""
    return _registry[name].title if name in _registry else name


def matching(part: str) -> list[TaskType]:
    """The types that have `part` in their title or name, ignoring case."""
    part = part.lower()
    return [one for one in all_types() if part in one.title.lower() or part in one.name]
