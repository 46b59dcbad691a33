"""Waiting tasks that stand in another queue than their type has by now: no worker would ever take them there."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs import task_types
from jobs.models import Task
from jobs.states import WAITING

CHUNK = 1000  # tasks moved in one transaction


def find(session: Session) -> list[tuple[str, Sequence[int]]]:
    """Their ids in chunks, each with the queue where they belong. It reads what waits, and nothing of the history."""
    queues = {one.name: one.queue for one in task_types.all_types()}
    at_home = [f"{name}:{queue}" for name, queue in queues.items()]
    astray = Task.task_type.in_(sorted(queues)), (Task.task_type + ":" + Task.queue).not_in(at_home)
    found: dict[str, list[int]] = collections.defaultdict(list)
    for state in sorted(WAITING):
        for id_, task_type in session.execute(select(Task.id, Task.task_type).where(Task.stands(state), *astray)):
            found[queues[task_type]].append(id_)
    return [(name, ids[at : at + CHUNK]) for name, ids in found.items() for at in range(0, len(ids), CHUNK)]


def move(session: Session, name: str, ids: Sequence[int]) -> None:
    """Bring those of them that still wait to this queue."""
    session.execute(
        update(Task)
        .where(Task.id.in_(ids), Task.state.in_(sorted(WAITING)))
        .values(queue=name)
        .execution_options(synchronize_session=False)
    )
