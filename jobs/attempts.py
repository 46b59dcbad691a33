"""One attempt: call the handler and turn whatever happens into an outcome. Nothing here touches the database."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs import payloads, task_types
from jobs.context import TaskContext
from jobs.states import State

MAX_RESULT_BYTES = 64 * 1024
MAX_TRACEBACK_CHARACTERS = 16_000


class Retry(Exception):
    """Raised by a handler to be tried again, after `delay` seconds or else the type's own wait."""

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


@dataclass(frozen=True)
class Claim:
    """A task that this worker may begin: one row of the claim."""

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


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `state` is the task's next state: Pending for a retry."""

    state: State
    kind: str
    result: Any = None
    error: str | None = None
    traceback: str | None = None
    retry_seconds: float = 0.0


def perform(claim: Claim, task: TaskContext) -> Outcome:
    """Run the handler of a claimed task to its end."""
    type_ = task_types.get(claim.task_type)
    try:
        result = type_.handler(task, **payloads.arguments(type_, claim.payload))
        return _completed(result)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler that calls sys.exit() ends itself, not its worker
        return _raised(error, claim, type_)


def _completed(result: Any) -> Outcome:
    try:
        size = len(payloads.encode(result))
    except ValueError as error:
        return Outcome(State.FAILED, "failed", error=f"The result is not JSON: {error}.")
    if size > MAX_RESULT_BYTES:
        return Outcome(
            State.FAILED, "failed", error=f"The result has {size:,} bytes; {MAX_RESULT_BYTES:,} are allowed."
        )
    return Outcome(State.COMPLETED, "completed", result=result)


def _raised(error: BaseException, claim: Claim, type_: task_types.TaskType) -> Outcome:
    """A retry while attempts remain, for `Retry` and the type's `retry_on`; else the end."""
    text = payloads.storable(str(error) if isinstance(error, Retry) else f"{type(error).__name__}: {error}")
    trace = None if isinstance(error, Retry) else payloads.storable(_trace(error))
    wants_retry = isinstance(error, (Retry, *type_.retry_on))
    if wants_retry and claim.attempt < claim.max_attempts:
        delay = getattr(error, "delay", None) if isinstance(error, Retry) else None
        wait = type_.retry_seconds if delay is None else max(0.0, delay)
        return Outcome(State.PENDING, "retry", error=text, traceback=trace, retry_seconds=wait)
    return Outcome(State.FAILED, "failed", error=text, traceback=trace)


def _trace(error: BaseException) -> str:
    whole = "".join(traceback.format_exception(error))
    if len(whole) <= MAX_TRACEBACK_CHARACTERS:
        return whole
    half = MAX_TRACEBACK_CHARACTERS // 2
    return f"{whole[:half]}\n… {len(whole) - 2 * half:,} characters left out …\n{whole[-half:]}"
