"""Rows, pages of them, and the cursors between pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jobs import task_types
from jobs.conditions import SCHEDULER
from jobs.counting import Count
from jobs.judge import Standing
from jobs.models import Task
from jobs.payloads import storable
from jobs.states import WAITING, State
from jobs.walks import Place

_TOO_BIG = 2**63  # for any integer of a database
_KINDS: dict[str, type] = {
    **dict.fromkeys(("created", "started", "first", "last"), datetime),
    **dict.fromkeys(("user", "type", "title", "error"), str),
}


@dataclass(frozen=True)
class Row:
    """A task in a list, with the state to show and the pause that holds it."""

    task: Task
    user_name: str
    type_title: str
    state: State
    pause_id: int | None

    @property
    def waits_until(self) -> datetime | None:
        """When a pending task may start, if that is ahead."""
        at = self.task.next_try_at
        return at if self.state is State.PENDING and at > datetime.now(UTC) else None

    @property
    def is_late(self) -> bool:
        """Whether it has been running for longer than its type's tasks should, by this machine's clock."""
        began = self.task.started_at if self.state in (State.RUNNING, State.CANCELLING) else None
        return began is not None and datetime.now(UTC) - began > task_types.late_after(self.task.task_type)


@dataclass(frozen=True)
class Page:
    """A page of tasks. `total` is capped: `is_capped` says that there are more. Cursors are None where it ends.

    `looked_back_to` is set when the search stopped before the page was full; `older` goes on from there.
    """

    rows: Sequence[Row]
    total: int
    is_capped: bool
    newer: str | None
    older: str | None
    looked_back_to: datetime | None = None
    counts: Mapping[State | None, Count] = field(default_factory=dict)  # as `lists.counts` tells them

    def pause_ids(self) -> set[int]:
        """The pauses that hold tasks of this page."""
        return {row.pause_id for row in self.rows if row.pause_id}


def row(task: Task, user_name: str | None, standing: Standing) -> Row:
    """A task as lists show it. The Scheduler's has no user, so no name."""
    state = State(task.state)
    held_by = standing.over(task.user_id, task.task_type) if state in WAITING else None
    if state in WAITING:
        state = State.PAUSED if held_by else State.PENDING
    name = SCHEDULER if user_name is None else user_name
    return Row(task, name, task_types.title_of(task.task_type), state, held_by)


def encode(place: Place | None) -> str | None:
    """The cursor of a place."""
    if place is None:
        return None
    key = place[0].isoformat() if isinstance(place[0], datetime) else place[0]
    return base64.urlsafe_b64encode(json.dumps([key, place[1]]).encode()).decode().rstrip("=")


def decode(cursor: str, sort: str) -> Place | None:
    """The place of a cursor in the order by this sort; None if it is none, since somebody may have typed it."""
    kind = _KINDS.get(sort, int)
    try:
        key, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if kind is datetime:
            key = datetime.fromisoformat(key)
    except (ValueError, TypeError, RecursionError):
        return None
    return (key, id_) if type(key) is kind and _is_storable(key) and type(id_) is int and abs(id_) < _TOO_BIG else None


def _is_storable(key: object) -> bool:
    match key:
        case datetime():
            return key.tzinfo is not None and 1 < key.year < 9999
        case int():
            return abs(key) < _TOO_BIG
        case str():
            return key == storable(key)
    return False
