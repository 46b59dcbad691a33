"""The lists of tasks: a page of rows in order, how many there are, and all of them in chunks.

Whatever the size of a business, a page looks at a limited number of index entries. Little is gathered and sorted
(`jobs.gathering`), much is walked along an index (`jobs.walks`) in an order (`jobs.orders`).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session, defer

from jobs import conditions, gathering, judge, orders, pages, people, tasks, walks
from jobs.conditions import Condition
from jobs.counting import Count, count_states
from jobs.filters import TaskFilter, View
from jobs.models import Task
from jobs.orders import Scope, by_id
from jobs.pages import Page, Row
from jobs.states import FINAL, WAITING, State
from jobs.walks import Clauses, Found, Place, Strand, Way
from tenants.models import User
from tenants.permissions import Actor, May
from tenants.within import Numbers, within

# What no list and no export shows, so no list reads it.
_UNUSED = (
    "payload claim_token lease_until pid claim_alone timeout_seconds unique_key unique_until parent_id rerun_of "
    "sort_title failure_id"
).split()


class Tab(enum.StrEnum):
    """The three lists of a user's own background tasks."""

    PENDING = "pending"
    FAILED = "failed"
    FINISHED = "finished"

    @property
    def states(self) -> frozenset[State]:
        """The states it holds: what is not over, what went wrong or was canceled, and what was completed."""
        match self:
            case Tab.PENDING:
                return frozenset(State) - FINAL
            case Tab.FAILED:
                return FINAL - {State.COMPLETED}
            case _:
                return frozenset({State.COMPLETED})


@dataclass(frozen=True)
class _Question:
    """What is asked for: where, and under which conditions.

    `of_state` holds for the chosen state only, and `deleted` are those that were while they waited.
    """

    scope: Scope
    others: Sequence[Condition]
    all_states: frozenset[State]  # whatever state is chosen
    of_state: Sequence[Condition] = ()
    deleted: Sequence[int] = ()

    @property
    def asked(self) -> Sequence[Condition]:
        return [*self.others, *self.of_state]

    @property
    def only(self) -> Clauses:
        return tuple(one.clause for one in self.asked)

    def way(self, start: Place | None, descending: bool, limit: int) -> Way:
        """The way to the next that are asked for."""
        return Way(start, descending, limit, self.only, self.scope.parameters)


def search(session: Session, by: Actor, wanted: TaskFilter) -> Page:
    """The tasks of the business as wanted. Members get their own."""
    return _page(session, _question(session, by, wanted), wanted)


def counts(session: Session, by: Actor, wanted: TaskFilter) -> dict[State | None, Count]:
    """How many tasks there are in each state of the view under the other filters, and in all (None)."""
    question = _question(session, by, replace(wanted, state=None))
    return _none(wanted.view.states) | _told(session, question, _counted(session, question))


def own(session: Session, by: Actor, tab: Tab, wanted: TaskFilter) -> Page:
    """The actor's own tasks in the business, whatever their role: one tab of Background-Tasks."""
    return _page(session, _mine(session, by, tab), wanted)


def count_own(session: Session, by: Actor, tab: Tab) -> Count:
    """How many tasks that tab holds."""
    question = _mine(session, by, tab)
    return _counted(session, question)[None]


def get(session: Session, by: Actor, task_id: int) -> Row:
    """One task that the actor may see, as a list shows it; else NotFound."""
    task = tasks.get(session, by, task_id)
    return pages.row(task, task.user.name if task.user else None, judge.standing(session, by.business.id))


def rows_of(
    session: Session, by: Actor, wanted: TaskFilter, *, after_id: int, limit: int, last_id: int | None = None
) -> Sequence[Row]:
    """All matching tasks by id up to `last_id`, a chunk at a time: for exports and for acts on many."""
    up_to = () if last_id is None else (Condition(_UP_TO, {"last_id": last_id}),)
    question = _question(session, by, wanted, *up_to)
    order = orders.order(session, question.scope, "id")
    found: list[Place] = []
    start: Place | None = (after_id, after_id)
    while start and len(found) < limit:
        part = walks.walk(session, order, question.way(start, descending=False, limit=limit - len(found)))
        found += part.places
        start = part.stopped_at
        if last_id is not None and start and start[1] > last_id:
            break
    return _rows(session, found, question.scope.standing)


def last_id(session: Session, by: Actor) -> int:
    """The newest task of the business: what is submitted from now on has a higher id."""
    by.require(May.ENTER)
    return session.scalar(select(func.max(Task.id)).where(Task.business_id == by.business.id)) or 0


def _question(session: Session, by: Actor, wanted: TaskFilter, *more: Condition) -> _Question:
    standing = judge.standing(session, by.business.id)
    there, deleted = conditions.there(session, by.business.id)
    others = [*conditions.visible(by), *conditions.matching(session, by.business.id, wanted, standing), *there, *more]
    of_state: list[Condition] = []
    states = frozenset(wanted.view.states)
    if wanted.late:
        states &= {State.RUNNING, State.CANCELLING}
    for one in others:
        states &= {one.state} if one.state else states
    shown = states & {wanted.state} if wanted.state else states
    if wanted.state is State.PAUSED:
        of_state = conditions.of_paused(standing)
    elif wanted.state is State.CANCELED and (of_state := conditions.of_canceled(deleted)):
        shown = states & {State.CANCELED, State.CANCELLING}  # listed where they will be
    asked = [*others, *of_state]
    days = tuple(one.clause for one in conditions.days(wanted))
    scope = Scope(by.business.id, wanted.view, shown, standing, _alone(asked), days, _values(asked))
    return _Question(scope, others, states, of_state, deleted)


def _alone(asked: Iterable[Condition]) -> Condition | None:
    return next((one for one in asked if one.width == 1), None)


_UP_TO = Task.id <= bindparam("last_id")
_IS_THERE, _IS_GONE = Task.undo_until.is_(None), or_(Task.state != State.CANCELLING, Task.undo_until.is_not(None))


def _mine(session: Session, by: Actor, tab: Tab) -> _Question:
    """What was deleted while it waited stands where it will be: with what was canceled."""
    by.require(May.ENTER)
    mine, standing = conditions.of_users([by.user.id]), judge.standing(session, by.business.id)
    asked, states = [mine, *conditions.there(session, by.business.id)[0]], tab.states
    if tab is Tab.PENDING:
        asked.append(Condition(_IS_THERE))
    elif tab is Tab.FAILED:
        asked.append(Condition(_IS_GONE))
        states |= {State.CANCELLING}
    return _Question(Scope(by.business.id, View.ALL, states, standing, mine, values=_values(asked)), asked, states)


def _values(asked: Sequence[Condition]) -> dict[str, Any]:
    """Those of all parameters of the conditions, which have names of their own."""
    return {name: value for one in asked for name, value in one.values.items()}


def _page(session: Session, question: _Question, wanted: TaskFilter) -> Page:
    scope = question.scope
    cursor = pages.decode(wanted.after or wanted.before, wanted.sort)
    backwards = bool(wanted.before and not wanted.after and cursor)
    way = question.way(cursor, wanted.descending is not backwards, wanted.size + 1)
    few, counted = _few_and_counts(session, question)
    found = _find(session, question, few, wanted.sort, way)
    if backwards and not found.places and not found.stopped_at:
        return _page(session, question, replace(wanted, before=""))  # nothing is newer any more: begin anew
    shown, stop = found.places[: wanted.size], found.stopped_at
    beyond = shown[-1] if len(found.places) > wanted.size else stop
    behind = (shown[0] if shown else stop or _next_to(cursor, way.descending)) if cursor else None
    if backwards:
        shown = shown[::-1]
    newer, older = (beyond, behind) if backwards else (behind, beyond)
    told = _told(session, question, counted)
    is_canceled = wanted.state is State.CANCELED
    total = _of_states(told, {State.CANCELED}) if is_canceled else _of_states(counted, scope.states)
    return Page(
        rows=_rows(session, shown, scope.standing),
        total=total.number,
        is_capped=total.is_capped,
        newer=pages.encode(newer),
        older=pages.encode(older),
        looked_back_to=_created(session, stop, wanted.sort),
        counts=_none(wanted.view.states) | told,
    )


def _none(states: Iterable[State]) -> dict[State | None, Count]:
    """Nothing of each state: of some none was looked for, since a filter leaves them out."""
    return dict.fromkeys(states, Count(0))


def _next_to(place: Place, descending: bool) -> Place:
    """So near behind a place that what comes before it begins with the task there."""
    return place[0], place[1] - 1 if descending else place[1] + 1


def _few_and_counts(session: Session, question: _Question) -> tuple[Sequence[Strand] | None, dict[State | None, Count]]:
    """Strands that hold everything and little else, if there are any, and how many there are in all states."""
    if question.asked:
        few = gathering.source(session, question.scope, question.asked)
        if question.all_states == question.scope.states and not question.of_state:
            return few, count_states(session, question.scope, question.asked, few)
        return few, _counted(session, question)
    counted = _counted(session, question)  # indexes know it, and so whether it is little
    every, states = by_id(question.scope), question.scope.states
    # What waits stands in one index: to find the paused is to look at the pending, too.
    total = _of_states(counted, states | WAITING if states & WAITING else states)
    is_little = total.number <= gathering.MOST and not total.is_capped
    return (every if is_little or not every else None), counted


def _counted(session: Session, question: _Question) -> dict[State | None, Count]:
    scope = replace(question.scope, states=question.all_states, alone=_alone(question.others))
    few = gathering.source(session, scope, question.others) if question.others else None
    return count_states(session, scope, question.others, few)


def _told(session: Session, question: _Question, counted: Mapping[State | None, Count]) -> dict[State | None, Count]:
    """What was deleted while it waited counts where it is listed: as Cancelling, and with what was canceled."""
    told = dict(counted)
    if question.deleted and State.CANCELED in question.all_states:
        only = (Task.id.in_(question.deleted), *(one.clause for one in question.others))
        number = session.scalar(select(func.count()).where(*only), question.scope.values) or 0
        told[State.CANCELED] = told.get(State.CANCELED, Count(0)) + Count(number)
    return told


def _of_states(counted: Mapping[State | None, Count], states: Iterable[State]) -> Count:
    return sum((counted.get(one, Count(0)) for one in states), Count(0))


def _find(session: Session, question: _Question, few: Sequence[Strand] | None, sort: str, way: Way) -> Found:
    if few is not None:
        return gathering.gather(session, question.scope, few, sort, way)
    if sort == "user":
        order = people.by_name(session, question.scope, question.asked)
    else:
        order = orders.order(session, question.scope, sort)
    return walks.walk(session, order, way)


def _rows(session: Session, places: Sequence[Place], standing: judge.Standing) -> list[Row]:
    ids = [id_ for _, id_ in places]
    found = {task.id: (task, name) for task, name in session.execute(_shown(), {"ids": ids}).tuples()} if ids else {}
    return [pages.row(*found[id_], standing) for id_ in ids if id_ in found]


@functools.cache
def _shown() -> Select[tuple[Task, str]]:
    """The tasks with these `ids`, and the names of their users. Built once: every list asks it."""
    unused = [defer(getattr(Task, name), raiseload=True) for name in _UNUSED]
    query = select(Task, User.name).outerjoin(Task.user).options(*unused)
    return query.where(within(Task.id, bindparam("ids", type_=Numbers(BigInteger()))))


def _created(session: Session, place: Place | None, sort: str) -> datetime | None:
    if place is None:
        return None
    at: datetime | None = place[0] if sort == "created" else None
    return at or session.scalar(select(Task.created_at).where(Task.id == place[1]))
