"""What the engine must decide, said a second time in plain Python over all rows. It shares no code with the engine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tests.machine.handlers import QUEUE_OF
from tests.machine.view import Row, View

WAITING = {"pending", "paused"}
HELD = {"running", "cancelling"}
FINAL = {"completed", "failed", "canceled"}
AFTERWARDS = {  # the states that may follow, however many moves lie between
    "pending": WAITING | HELD | FINAL,
    "paused": WAITING | HELD | FINAL,
    "running": WAITING | HELD | FINAL,
    "cancelling": {"cancelling", "canceled"},
    **{state: {state} for state in FINAL},
}


def is_open(pause: Row, now: datetime) -> bool:
    """Whether a pause counts at that time."""
    return pause.ended_at is None and (pause.until is None or pause.until > now)


def covers(pause: Row, task: Row) -> bool:
    """Whether a pause, open or not, means this task."""
    if pause.business_id is not None and pause.business_id != task.business_id:
        return False
    if pause.user_id is not None and pause.user_id != task.user_id:
        return False
    return pause.task_type is None or bool(pause.task_type == task.task_type)


def is_held(view: View, task: Row, now: datetime | None = None) -> bool:
    """Whether an open pause means this task."""
    return any(is_open(pause, now or view.now) and covers(pause, task) for pause in view.pauses.values())


def place(task: Row) -> tuple[int, datetime, int]:
    """The place of a task in the order of claims."""
    return -task.priority, task.next_try_at, task.id


def ready(view: View, business_id: int, queue: str, now: datetime) -> list[Row]:
    """The tasks that may start at that time, best first. The mark `paused` means nothing: the registry counts."""
    types = {name for name, of in QUEUE_OF.items() if of == queue} - _full_types(view, business_id)
    return sorted(
        (
            task
            for task in view.tasks.values()
            if task.business_id == business_id
            and task.queue == queue
            and task.state in WAITING
            and task.next_try_at <= now
            and task.task_type in types
            and not is_held(view, task, now)
        ),
        key=place,
    )


def claimed(view: View, business_id: int, queue: str, limit: int, now: datetime) -> list[int]:
    """The ids that a claim must take, in order: one whose last attempt was lost is alone in its batch."""
    batch: list[int] = []
    for task in ready(view, business_id, queue, now)[:limit]:
        if task.claim_alone and batch:
            break
        batch.append(task.id)
        if task.claim_alone:
            break
    return batch


def _full_types(view: View, business_id: int) -> set[str]:
    """The types of which no more may start, since so many batches that hold one are at work."""
    held = [task for task in view.tasks.values() if task.claim_token and task.business_id == business_id]
    full: set[str] = set()
    for limit in view.limits:
        if limit.business_id == business_id and _batches(held, limit.task_type) >= limit.max_running:
            full |= {limit.task_type} if limit.task_type else set(QUEUE_OF)
    return full


def _batches(held: Iterable[Row], task_type: str | None) -> int:
    return len({task.claim_token for task in held if task_type in (None, task.task_type)})
