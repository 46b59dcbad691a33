"""The `task` that a handler gets: what it is about, and log, step and progress."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config import Config
from jobs.payloads import storable

MAX_ENTRY_CHARACTERS = 4_000
MAX_STEP_CHARACTERS = 200


_at_work: contextvars.ContextVar[TaskContext | None] = contextvars.ContextVar("the task at work", default=None)


def current() -> TaskContext | None:
    """The task whose handler calls this, in the thread of the handler; None outside of handlers."""
    return _at_work.get()


@contextlib.contextmanager
def working_on(task: TaskContext) -> Iterator[None]:
    """In this block `current` is this task."""
    token = _at_work.set(task)
    try:
        yield
    finally:
        _at_work.reset(token)


@dataclass(frozen=True)
class Line:
    """A log line or the beginning of a step."""

    kind: str
    text: str
    at: datetime


@dataclass(frozen=True)
class News:
    """What a handler said since it was last asked."""

    lines: list[Line]
    done: int | None
    total: int | None
    step: str | None


class TaskContext:
    """What a handler knows of its task, and how it tells what it is doing.

    Nothing that it says is a database call: a thread beside the handler writes it within a second.
    """

    def __init__(self, id_: int, attempt: int, business: str, user: str | None) -> None:
        self.id = id_
        self.attempt = attempt
        self.business = business
        self.user = user
        self._lock = threading.Lock()
        self._redact: Callable[[str], str] = str
        self._known_at, self._known = datetime.now(UTC), time.monotonic()
        self._lines: list[Line] = []
        self._said = 0
        self._done: int | None = None
        self._total: int | None = None
        self._step: str | None = None
        self._is_new = False

    def begin(self, *, at: datetime, monotonic: float, said: int, redact: Callable[[str], str]) -> None:
        """The engine's word before the handler starts.

        `at` is the database's time at the moment `monotonic`, so that the clock of this machine decides nothing;
        `said` are the lines of earlier attempts; `redact` takes the secrets out of a text.
        """
        self._known_at, self._known, self._said, self._redact = at, monotonic, said, redact

    def log(self, message: str) -> None:
        """Add a line to the task's log. Long lines are cut, and so is a log of more than LOG_LINES lines."""
        self._say("log", str(message))

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Name what the handler does in this block."""
        self._say("step", str(title))
        name = storable(self._redact(str(title))[:MAX_STEP_CHARACTERS])
        with self._lock:
            outer, self._step, self._is_new = self._step, name, True
        try:
            yield
        finally:
            with self._lock:
                self._step, self._is_new = outer, True

    def progress(self, done: int, total: int) -> None:
        """Tell how much of the work is done."""
        with self._lock:
            self._done, self._total, self._is_new = _storable_number(done), _storable_number(total), True

    def news(self) -> News | None:
        """What is new since the last call; None if nothing is."""
        with self._lock:
            if not self._is_new:
                return None
            lines, self._lines, self._is_new = self._lines, [], False
            return News(lines, self._done, self._total, self._step)

    def unsay(self, news: News) -> None:
        """Take back what could not be written: the next `news` has it again."""
        with self._lock:
            self._lines, self._is_new = [*news.lines, *self._lines], True

    def _say(self, kind: str, text: str) -> None:
        text = self._redact(text)  # before it is cut: the half of a secret would not be recognised
        if len(text) > MAX_ENTRY_CHARACTERS:
            text = f"{text[:MAX_ENTRY_CHARACTERS]} … {len(text) - MAX_ENTRY_CHARACTERS:,} characters cut"
        with self._lock:
            self._said += 1
            if self._said > _most_lines() + 1:
                return
            if self._said == _most_lines() + 1:
                text = f"The log is cut here: {_most_lines():,} lines of a task are kept."
            at = self._known_at + timedelta(seconds=time.monotonic() - self._known)
            self._lines.append(Line(kind, storable(text), at))
            self._is_new = True


@functools.cache
def _most_lines() -> int:
    """LOG_LINES, read once: a handler may say much."""
    return Config.from_env().log_lines


def _storable_number(number: float) -> int:
    """As a database takes it."""
    return max(-(2**63), min(int(number), 2**63 - 1))
