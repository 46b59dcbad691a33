"""One attempt: call the handler and turn whatever happens into an outcome. Nothing here touches the database."""

from __future__ import annotations

import functools
import json
import math
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jobs import payloads, task_types
from jobs.context import TaskContext, working_on
from jobs.redaction import Redactor
from jobs.states import State
from jobs.task_types import YEAR

MAX_ERROR_CHARACTERS = 4_000
MAX_TRACEBACK_CHARACTERS = 16_000


class Retry(Exception):
    """Raised by a handler to be tried again, after `delay` seconds or else the type's own wait."""

    delay: float | None = None  # also of a subclass that does not call this

    def __init__(self, reason: str, delay: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.delay = delay.total_seconds() if isinstance(delay, timedelta) else delay


class Interrupted(BaseException):
    """Raised in a handler whose task somebody interrupts, so that it can clean up. A handler may raise it, too.

    Not an Exception: a handler that logs every Exception and goes on would never stop.
    """


class LeaseLost(Interrupted):
    """Raised in a handler whose lease cannot be kept, since another worker may have its task by then."""


class TimedOut(BaseException):
    """Raised in a handler that runs longer than its timeout. The attempt ends as with a TimeoutError."""


@dataclass(slots=True)  # not frozen: that takes three times as long to make, once a task
class Claim:
    """A task that this worker may begin: one row of the claim.

    `lines` are what earlier attempts wrote; `monotonic` is when this process learned of `claimed_at`.
    """

    id: int
    business_id: int
    business: str
    user: str | None
    task_type: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    token: str
    claimed_at: datetime
    timeout_seconds: float | None = None
    lines: int = 0
    monotonic: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `state` is the task's next state: Pending for a retry or after a loss."""

    state: State
    kind: str
    result: Any = None
    error: str | None = None
    traceback: str | None = None
    retry_seconds: float = 0.0


Call = Callable[[TaskContext], Any]


def prepare(claim: Claim) -> Call:
    """The call of a handler, with all that may take time before it begins: the payload as its annotations say."""
    type_ = task_types.get(claim.task_type)
    try:
        arguments = payloads.arguments(type_, claim.payload)
    except Exception as error:  # noqa: BLE001 - the handler may have changed, and validators are its author's
        return functools.partial(_refuse, error)
    redactor = Redactor(type_, claim.payload)

    def call(task: TaskContext) -> Any:
        task.begin(at=claim.claimed_at, monotonic=claim.monotonic, said=claim.lines, redact=redactor.text)
        result = type_.handler(task, **arguments)
        # What cannot be stored is refused whatever is in it, and parts that it shares could be redacted for ever.
        return redactor.value(result) if type_.secrets and payloads.is_json(result) else result

    return call


_NOTHING = Outcome(State.COMPLETED, "completed")
_hear: Callable[[], object] = bool
_at_work: tuple[int, int] | None = None  # the task and attempt whose handler may be stopped now


def perform(claim: Claim, task: TaskContext, call: Call) -> Outcome:
    """Run the handler of a claimed task to its end."""
    global _at_work  # noqa: PLW0603 - a process runs one handler at a time, but for one that runs another inline
    me, outer = os.getpid(), _at_work
    try:
        _at_work = claim.id, claim.attempt
        _hear()
        with working_on(task):
            result = call(task)
        _at_work = outer
        return _completed(result)
    except BaseException as error:  # noqa: BLE001 - a handler that calls sys.exit() ends itself, not its worker
        _at_work = outer
        return _raised(error, claim)
    finally:
        if os.getpid() != me:  # a child that the handler forked came back here: the turn is not its own
            os._exit(0)


def listen(hear: Callable[[], None]) -> None:
    """Have `hear` called as a handler begins: a signal that came a moment before told nobody."""
    global _hear  # noqa: PLW0603
    _hear = hear


def stop(task_id: int, attempt: int, error: BaseException) -> None:
    """Raise `error` in the handler of this attempt, if it is at work still. For a signal's handler: it interrupts."""
    global _at_work  # noqa: PLW0603
    if _at_work == (task_id, attempt):
        _at_work = None  # once, so that it can clean up
        raise error


def timed_out(claim: Claim) -> Outcome:
    """The end of an attempt that was killed because it heard nothing."""
    return _raised(TimedOut("It ran longer than its timeout and was killed."), claim)


def lost(claim: Claim, error: str) -> Outcome:
    """The end of an attempt whose process died."""
    state = State.FAILED if claim.attempt >= claim.max_attempts else State.PENDING
    return Outcome(state, "lost", error=error)


def _refuse(error: Exception, _task: TaskContext) -> None:
    raise error


def _completed(result: Any) -> Outcome:
    if result is None:
        return _NOTHING
    try:
        encoded = payloads.encode(result)
    except ValueError as error:
        return Outcome(State.FAILED, "failed", error=f"The result cannot be stored: {error}.")
    # What was checked, not what the handler may still hold and change.
    return Outcome(State.COMPLETED, "completed", result=json.loads(encoded))


def _raised(error: BaseException, claim: Claim) -> Outcome:
    """A retry while attempts remain, for `Retry` and the type's `retry_on`; else the end."""
    type_ = task_types.get(claim.task_type)
    redact = Redactor(type_, claim.payload).text
    text, trace = _text(error, redact), None
    if not isinstance(error, Retry):
        text, trace = f"{type(error).__name__}: {text}", _trace(error, redact)
    if isinstance(error, LeaseLost):
        return lost(claim, text)  # if the lease holds after all: nobody wanted this task to be over
    if isinstance(error, Interrupted):
        return Outcome(State.CANCELED, "canceled", error=text, traceback=trace)
    if not _is_retry(error, type_) or claim.attempt >= claim.max_attempts:
        return Outcome(State.FAILED, "failed", error=text, traceback=trace)
    return Outcome(State.PENDING, "retry", error=text, traceback=trace, retry_seconds=_wait(error, type_, claim))


def _is_retry(error: BaseException, type_: task_types.TaskType) -> bool:
    as_error = TimeoutError() if isinstance(error, TimedOut) else error
    return isinstance(as_error, (Retry, *type_.retry_on))


def _wait(error: BaseException, type_: task_types.TaskType, claim: Claim) -> float:
    """Seconds until the next attempt, a year at most, whatever the handler said."""
    usual = type_.wait_after(claim.attempt)
    delay = error.delay if isinstance(error, Retry) else None
    try:
        wait = usual if delay is None else float(delay)
    except OverflowError:  # of a whole number with hundreds of digits
        wait = YEAR if delay and delay > 0 else 0.0
    except Exception:  # noqa: BLE001 - whatever it is, it is its author's
        wait = usual
    return YEAR if math.isnan(wait) else min(max(0.0, wait), YEAR)


def _text(error: BaseException, redact: Callable[[str], str]) -> str:
    """What the error says, as a database takes it."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - its own code
        said = "(an error that cannot say what it is)"
    return _cut(redact(said), MAX_ERROR_CHARACTERS)


def _trace(error: BaseException, redact: Callable[[str], str]) -> str:
    try:
        whole = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - its own code
        whole = "".join(traceback.format_tb(error.__traceback__))
    return _cut(redact(whole), MAX_TRACEBACK_CHARACTERS)


def _cut(text: str, limit: int) -> str:
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return payloads.storable(text)
