"""Task types: the registered kinds of work, and how a Python function becomes one."""

from __future__ import annotations

import importlib
import inspect
import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from tenants.errors import Invalid

BUILTIN_MODULES = ("jobs.builtin.bulk", "jobs.builtin.count", "jobs.builtin.export", "jobs.builtin.script")
YEAR = 365 * 86_400.0  # in seconds: no wait or timeout is longer
LATE_SECONDS = 3600.0  # a task that runs for longer is late, unless its type says otherwise
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_MAX_NAME, _MAX_QUEUE = 100, 50  # as their columns are wide
_registry: dict[str, TaskType] = {}
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class UnknownTaskType(Invalid):
    """No task type of this name is registered."""


class BadTaskModule(Exception):
    """A module named by TASK_MODULES cannot be imported; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class TaskType:
    """A kind of work, with what it may cost. All times are in seconds; no `timeout` means as long as it takes."""

    name: str
    title: str
    handler: Callable[..., Any]
    queue: str = "default"
    timeout: float | None = None
    max_attempts: int = 10
    retry_seconds: float = 30.0
    backoff: float = 1.0
    max_retry_seconds: float = 3600.0
    jitter: float = 0.0
    retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)
    secrets: frozenset[str] = frozenset()
    max_running: int | None = None
    late_after: float | None = None
    retention_days: float | None = None
    show_result: Callable[[Any], str | Mapping[str, Any]] | None = None

    @property
    def late_seconds(self) -> float:
        """How long a task runs before pages mark it as late."""
        return self.late_after or self.timeout or LATE_SECONDS

    def __post_init__(self) -> None:
        """ValueError names the first setting that cannot be."""
        for field, is_good, rule in (
            ("timeout", self.timeout is None or is_seconds(self.timeout), "seconds, more than 0 and a year at most"),
            ("max_attempts", _is_count(self.max_attempts), "a whole number from 1 on"),
            ("max_retry_seconds", _is_number(self.max_retry_seconds, 0, YEAR), "seconds, a year at most"),
            ("retry_seconds", self._is_wait(self.retry_seconds), "seconds, max_retry_seconds at most"),
            ("backoff", _is_number(self.backoff, 1, 1000), "a factor between 1 and 1,000"),
            ("jitter", _is_number(self.jitter, 0, 1), "a share between 0 and 1"),
            ("retry_on", _are_errors(self.retry_on), "a tuple of exception classes"),
            ("secrets", _are_keys(self.secrets), "a tuple of payload keys"),
            ("max_running", self.max_running is None or _is_count(self.max_running), "a whole number from 1 on"),
            (
                "late_after",
                self.late_after is None or is_seconds(self.late_after),
                "seconds, more than 0 and a year at most",
            ),
            ("retention_days", self.retention_days is None or _is_days(self.retention_days), "days, more than 0"),
            ("show_result", self.show_result is None or callable(self.show_result), "a function of the result"),
        ):
            if not is_good:
                raise ValueError(f"task type {self.name!r}: {field} must be {rule}, not {getattr(self, field)!r}")

    def wait_after(self, attempt: int) -> float:
        """Seconds from the end of this attempt to the next one."""
        try:
            wait = min(self.retry_seconds * float(self.backoff) ** (attempt - 1), self.max_retry_seconds)
        except OverflowError:
            wait = self.max_retry_seconds if self.retry_seconds else 0.0
        wait *= 1 + random.uniform(-self.jitter, self.jitter)  # noqa: S311 - it spreads load
        return min(wait, self.max_retry_seconds)

    def _is_wait(self, value: object) -> bool:
        return _is_number(self.max_retry_seconds, 0, YEAR) and _is_number(value, 0, self.max_retry_seconds)


def task_type(
    name: str,
    *,
    title: str,
    queue: str = "default",
    timeout: float | None = None,
    max_attempts: int = 10,
    retry_seconds: float = 30.0,
    backoff: float = 1.0,
    max_retry_seconds: float = 3600.0,
    jitter: float = 0.0,
    retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
    secrets: Collection[str] = (),
    max_running: int | None = None,
    late_after: float | None = None,
    retention_days: float | None = None,
    show_result: Callable[[Any], str | Mapping[str, Any]] | None = None,
) -> Callable[[_Handler], _Handler]:
    """Register the function below as the handler of a task type.

    Its first parameter is the `task` (see `jobs.context.TaskContext`), all others are the payload. It returns the
    result (JSON), raises `Retry`, or raises anything else to fail. At most `max_running` tasks of the type run at
    once in each business; a limit that is set for a business counts instead. One that runs for more than `late_after`
    seconds is marked on pages. What is over is kept for `retention_days`, else as long as the setting says.
    `show_result` makes a text, or values by their names, of a result, for its page.
    ValueError for a setting that cannot be.
    """
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(queue):
        raise ValueError(f"task type {name!r} in queue {queue!r}: both are lower-case words joined by dots")
    if len(name) > _MAX_NAME or len(queue) > _MAX_QUEUE:  # PostgreSQL would refuse every task of it
        raise ValueError(f"task type {name!r}: it has {_MAX_NAME} characters at most, its queue {_MAX_QUEUE}")
    if isinstance(secrets, str):
        raise ValueError(f"task type {name!r}: secrets must be a tuple of payload keys, not {secrets!r}")

    def register(handler: _Handler) -> _Handler:
        if not _takes_task_and_payload(handler):
            raise ValueError(f"task type {name!r}: its handler takes the task first, and the payload by name")
        new = TaskType(
            name=name,
            title=title,
            handler=handler,
            queue=queue,
            timeout=timeout,
            max_attempts=max_attempts,
            retry_seconds=retry_seconds,
            backoff=backoff,
            max_retry_seconds=max_retry_seconds,
            jitter=jitter,
            retry_on=retry_on,
            secrets=frozenset(secrets),
            max_running=max_running,
            late_after=late_after,
            retention_days=retention_days,
            show_result=show_result,
        )
        standing = _registry.get(name)
        if standing and _place(standing.handler) != _place(handler):  # a module that is imported again is the same
            raise ValueError(f"task type {name!r} is registered by {'.'.join(_place(standing.handler))} already")
        _registry[name] = new
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
    except (KeyError, TypeError):
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


def late_after(name: str) -> timedelta:
    """How long a task of this type runs before pages mark it."""
    return timedelta(seconds=_registry[name].late_seconds if name in _registry else LATE_SECONDS)


def matching(part: str) -> list[TaskType]:
    """The types that have `part` in their title or name, ignoring case."""
    part = part.lower()
    return [one for one in all_types() if part in one.title.lower() or part in one.name]


def is_seconds(value: object) -> bool:
    """Whether it is a duration: more than 0 and a year at most."""
    return _is_number(value, 0, YEAR) and value != 0


def _is_days(value: object) -> bool:
    return _is_number(value, 0, 36_500) and value != 0


def _is_number(value: object, least: float, most: float) -> bool:
    """NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_count(value: object) -> bool:
    return isinstance(value, int) and _is_number(value, 1, 2**31 - 1)


def _are_errors(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, type) and issubclass(one, Exception) for one in value)


def _are_keys(value: Collection[object]) -> bool:
    return all(isinstance(one, str) and one for one in value)


def _takes_task_and_payload(handler: Callable[..., Any]) -> bool:
    kinds = [one.kind for one in inspect.signature(handler).parameters.values()]
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return bool(kinds) and kinds[0] not in by_name and inspect.Parameter.POSITIONAL_ONLY not in kinds[1:]


def _place(handler: Callable[..., Any]) -> tuple[str, str]:
    """Where a function is defined: its module and its name there."""
    return handler.__module__, getattr(handler, "__qualname__", repr(handler))
