"""Running again what is over: a new task like it, and the links between tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from jobs import queue, redaction, submitting, task_types, tasks
from jobs.checks import New
from jobs.models import Task
from jobs.states import FINAL
from tenants import audit
from tenants.errors import Conflict
from tenants.permissions import Actor, May

_MOST = 20  # links of one kind that anybody reads


class NotOver(Conflict):
    """This task is not over yet, so it cannot run again."""


def get_final(session: Session, by: Actor, task_id: int) -> Task:
    """A task that the actor may run again; NotOver while it is not over."""
    by.require(May.SUBMIT)
    task = tasks.get(session, by, task_id)
    if task.state not in FINAL:
        raise NotOver
    return task


def run_again(session: Session, by: Actor, task_id: int, payload: dict[str, Any]) -> int:
    """Add a task like one that is over, of the actor, with this payload; answer its id.

    A secret whose mask was left standing stays as it was. The old task stays, too. Each call adds one.
    """
    old = get_final(session, by, task_id)
    payload = redaction.unmasked(task_types.get(old.task_type), payload, old.payload)
    about = (old.task_type, by.business.slug, by.user.email, payload, old.title, old.priority)
    added = submitting.add(session, New(*about, timeout=old.timeout_seconds, rerun_of=old.id, ref=old.ref))
    queue.wake(session, added.business_id, added.queue)
    after = {"rerun_of": old.id, "task_type": old.task_type, "payload_keys": sorted(payload)}
    audit.record(session, by, "run again", f"task:{added.id}", after=after)
    return added.id


@dataclass(frozen=True)
class Links:
    """The tasks that one is linked to, as far as the actor may see them; of each kind twenty at most."""

    parent: Task | None = None
    original: Task | None = None
    children: Sequence[Task] = field(default_factory=list)
    reruns: Sequence[Task] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.parent or self.original or self.children or self.reruns)


def links(session: Session, by: Actor, task: Task) -> Links:
    """Who submitted it, what it submitted, what it runs again, what runs it again."""

    def find(where: ColumnElement[bool]) -> Sequence[Task]:
        query = select(Task).where(*tasks.seen_by(by), Task.is_there(), where)
        return session.scalars(query.order_by(Task.id).limit(_MOST)).all()

    def find_one(id_: int | None) -> Task | None:
        return next(iter(find(Task.id == id_)), None) if id_ else None

    return Links(
        parent=find_one(task.parent_id),
        original=find_one(task.rerun_of),
        children=find(Task.parent_id == task.id),
        reruns=find(Task.rerun_of == task.id),
    )
