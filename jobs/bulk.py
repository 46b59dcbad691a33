"""One act on many tasks: on those that somebody ticked at once, on all that match as a task of its own."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from jobs import checks, deletions, interrupts, lists, reruns, submitting, tasks
from jobs.counting import Count
from jobs.filters import TaskFilter
from jobs.states import State
from tenants.errors import Conflict, Invalid, NotFound
from tenants.permissions import Actor, May

MOST = 100  # tasks that are ticked: a page of them


class Act(enum.StrEnum):
    """What may be done with many tasks."""

    INTERRUPT = "interrupt"
    RETRY = "retry"
    PRIORITY = "priority"
    DELETE = "delete"


DONE = {
    Act.INTERRUPT: "interrupted",
    Act.RETRY: "set off again",
    Act.PRIORITY: "given the new priority",
    Act.DELETE: "deleted",
}


class RunAlready(Conflict):
    """This task was run again already."""


class TooMany(Invalid):
    """At most 100 tasks can be ticked. Select all that match instead."""


@dataclass(frozen=True)
class Order:
    """An act, with what it needs: a priority for that, and how long a deletion can be undone, in seconds."""

    act: Act
    priority: int = 0
    undo_seconds: float = 0


@dataclass
class Outcome:
    """What became of an act: the tasks that it was done to, and why others were passed over, with how many."""

    done: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        why = [f"{number:,} passed over: {reason}" for reason, number in self.refused.most_common()]
        return " ".join([f"{len(self.done):,} done.", *why])

    def add(self, other: Outcome) -> None:
        """Count those of another chunk, too."""
        self.done += other.done
        self.refused += other.refused


def do(session: Session, by: Actor, order: Order, ids: Collection[int]) -> Outcome:
    """Do it to each of these tasks that allows it, in the caller's transaction. One that is gone is passed over.

    TooMany beyond a page of tasks, Invalid for what is no priority.
    """
    checks.check_priority(order.priority)
    return _each(by, ids, lambda id_: _do(session, by, order, id_))


def undo(session: Session, by: Actor, ids: Collection[int]) -> Outcome:
    """Take the deletion of each of these tasks back, where there is time."""
    return _each(by, ids, lambda id_: deletions.undo(session, by, id_))


def start(session: Session, by: Actor, order: Order, wanted: TaskFilter, last_id: int) -> int:
    """Submit the act on all that `wanted` matches now, up to `last_id`; the id of the task that does it.

    What is submitted later is not touched. Interrupting that task leaves the rest alone.
    """
    by.require(May.MANAGE)
    checks.check_priority(order.priority)
    payload = {
        "act": str(order.act),
        "filter": wanted.args(after="", before=""),
        "view": str(wanted.view),
        "zone": str(wanted.zone),
        "last_id": last_id,
        "priority": order.priority,
    }
    title = f"{order.act.capitalize()} all matching tasks"
    return submitting.submit_as(session, by, "tasks.bulk", payload, title=title, priority=100)


def matching(session: Session, by: Actor, wanted: TaskFilter) -> tuple[Count, int]:
    """How many tasks match now, and the id up to which: what comes later is not meant."""
    by.require(May.MANAGE)
    found = lists.search(session, by, wanted)
    return Count(found.total, found.is_capped), lists.last_id(session, by)


def _each(by: Actor, ids: Collection[int], act: Callable[[int], object]) -> Outcome:
    by.require(May.MANAGE)
    if len(ids) > MOST:
        raise TooMany
    outcome = Outcome()
    for id_ in ids:
        try:
            act(id_)
        except (Conflict, NotFound, Invalid) as error:
            outcome.refused[error.message] += 1
        else:
            outcome.done.append(id_)
    return outcome


def _do(session: Session, by: Actor, order: Order, id_: int) -> None:
    match order.act:
        case Act.INTERRUPT:
            interrupts.interrupt(session, by, id_)
        case Act.RETRY:
            _retry(session, by, id_)
        case Act.PRIORITY:
            tasks.prioritise(session, by, id_, order.priority)
        case Act.DELETE:
            _delete(session, by, order, id_)


def _delete(session: Session, by: Actor, order: Order, id_: int) -> None:
    if order.undo_seconds:
        deletions.begin(session, by, id_, undo_seconds=order.undo_seconds)
    else:
        tasks.delete(session, by, id_)


def _retry(session: Session, by: Actor, id_: int) -> None:
    """What waits for its next attempt makes it now; what failed or was canceled runs again as a new task."""
    task = tasks.get(session, by, id_)
    if task.state not in (State.FAILED, State.CANCELED):
        tasks.retry_now(session, by, id_)
        return
    if reruns.links(session, by, task).reruns:  # an operation whose worker died begins anew
        raise RunAlready
    reruns.run_again(session, by, id_, tasks.shown_payload(task))
