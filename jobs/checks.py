"""What a submit or an edit may ask for: one clear error for the first thing that is wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from jobs import payloads, task_types
from tenants.errors import Invalid

MAX_TITLE = 200
MAX_KEY = 200
MAX_REF = 200
_MAX_PRIORITY = 2**31 - 1


class NoZone(Invalid):
    """A start time needs a time zone."""


class BadTimeout(Invalid):
    """A timeout is a number of seconds, more than 0 and a year at most."""


class BadKey(Invalid):
    """A unique key is a text of 1 to 200 characters. The time that it stays taken is a year at most."""


class BadRef(Invalid):
    """A reference is a text of 1 to 200 characters."""


def check_ref(ref: object) -> None:
    """Whether tasks can carry this reference; else BadRef."""
    if not ref or not _is_text(ref, MAX_REF):
        raise BadRef(field="ref")


class New(NamedTuple):
    """What a submit asks for."""

    task_type: str
    business: str
    user: str | None
    payload: dict[str, Any]
    title: str | None
    priority: int
    start_at: datetime | None = None
    timeout: float | None = None
    unique_key: str | None = None
    unique_for: float | timedelta | None = None
    rerun_of: int | None = None
    ref: str | None = None


class Asked(Protocol):
    """What a submit and an edit have in common."""

    @property
    def title(self) -> str | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def start_at(self) -> datetime | None: ...
    @property
    def payload(self) -> dict[str, Any]: ...


def check(type_: task_types.TaskType, asked: Asked) -> str:
    """The payload as JSON; one clear error for the first thing that is wrong."""
    payload = payloads.check(type_, asked.payload)
    if not _is_text(asked.title or "", MAX_TITLE):
        raise Invalid(f"A title has {MAX_TITLE} characters at most.", field="title")
    check_priority(asked.priority)
    _check_start(asked.start_at)
    return payload


def check_priority(value: object) -> None:
    """Invalid unless it is an integer that both databases take."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_PRIORITY:
        raise Invalid(
            f"A priority is a whole number between -{_MAX_PRIORITY:,} and {_MAX_PRIORITY:,}.", field="priority"
        )


def check_new(type_: task_types.TaskType, new: New) -> str:
    """The same for a new task, with its timeout and its unique key, which an edit leaves alone."""
    payload = check(type_, new)
    _check_limits(new)
    return payload


def _check_start(at: object) -> None:
    if at is None:
        return
    if not isinstance(at, datetime):
        raise Invalid("A start time is a date and time with its zone.", field="start_at")
    if at.utcoffset() is None:
        raise NoZone(field="start_at")
    if not 1970 <= at.year <= 9000:
        raise Invalid("A start time lies between the years 1970 and 9000.", field="start_at")


def _check_limits(new: New) -> None:
    if new.timeout is not None and not task_types.is_seconds(new.timeout):
        raise BadTimeout(field="timeout")
    if new.unique_key is not None and not (new.unique_key and _is_text(new.unique_key, MAX_KEY)):
        raise BadKey(field="unique_key")
    if new.unique_for is not None and (new.unique_key is None or not task_types.is_seconds(seconds(new.unique_for))):
        raise BadKey(field="unique_for")
    if new.ref is not None:
        check_ref(new.ref)


def seconds(duration: float | timedelta) -> float:
    """A duration as a number."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _is_text(value: object, most: int) -> bool:
    """Whether it is a text that fits and can be stored."""
    return isinstance(value, str) and len(value) <= most and value == payloads.storable(value)
