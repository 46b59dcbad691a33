"""What is unfinished, by the small indexes of what waits and of what is leased.

SQLite would rather walk the whole history of a user or a type, since it compares two columns there. So the user, the
type and, of what runs, the business are written such that no other index fits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, select, union_all

from jobs.models import Task
from jobs.states import State

USER = func.coalesce(Task.user_id, 0).label("user_id")  # 0 is the Scheduler
TASK_TYPE = func.coalesce(Task.task_type, "").label("task_type")
_IN_ANY_QUEUE = Task.queue > ""  # the indexes' second column


def waiting(
    businesses: Collection[int] | None, *where: ColumnElement[bool], columns: Collection[Any]
) -> CompoundSelect[Any]:
    """These columns of each task that waits in the businesses, or in all: pending or set aside as paused."""
    inside = [] if businesses is None else [Task.business_id.in_(businesses)]
    states = (State.PENDING, State.PAUSED)
    return union_all(*(select(*columns).where(Task.stands(one), _IN_ANY_QUEUE, *inside, *where) for one in states))


def running(businesses: Collection[int] | None, *where: ColumnElement[bool], columns: Collection[Any]) -> Select[Any]:
    """These columns of each task that a worker holds in the businesses, or in all."""
    inside = [] if businesses is None else [(Task.business_id + 0).in_(businesses)]
    held = (Task.lease_until.is_not(None), Task.state.in_([State.RUNNING, State.CANCELLING]))
    return select(*columns).where(*held, *inside, *where)
