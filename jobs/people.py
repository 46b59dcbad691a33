"""The order by user: people by name, each with their tasks by id."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from sqlalchemy import Integer, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session

from jobs.conditions import SCHEDULER, Condition, of_users
from jobs.models import Task
from jobs.orders import HERE, Scope, by_id
from jobs.walks import Order, Place, Segment, Strand
from tenants.models import User
from tenants.within import Numbers, within

AT_ONCE = 50  # looked up at once
FEW = 60  # tasks of one person that are fetched together with those of others
SPARSE = 800  # the same, when only some of them are asked for, or those in one state
SORTABLE = 2_000
_NAMELESS = SCHEDULER.lower()
_MOST = bindparam("most", type_=Integer)

_Person = tuple[str, int | None, int]  # name, id, and how many tasks up to SORTABLE + 1


def by_name(session: Session, scope: Scope, asked: Sequence[Condition]) -> Order:
    """People in the order of their names, with those of their tasks that are in the scope."""
    known = [set(one.users) for one in asked if one.users is not None]
    among = set[int | None].intersection(*known) if known else None
    few = SPARSE if asked or len(scope.states) == 1 else FEW

    def segments(start: Place | None, descending: bool) -> Iterator[Segment]:
        batch: list[_Person] = []
        for _, same in groupby(_people(session, scope, among, start, descending), key=lambda one: one[0]):
            people = list(same)
            if _tasks(people) <= few:
                batch += people
                if _tasks(batch) <= few:
                    continue
                people = []
            if batch:
                yield _together(scope, batch)
                batch = []
            if people:
                yield _alone(scope, people)
        if batch:
            yield _together(scope, batch)

    return segments


def _tasks(people: Sequence[_Person]) -> int:
    return sum(count for _, _, count in people)


def _together(scope: Scope, people: Sequence[_Person]) -> Segment:
    theirs = of_users([id_ for _, id_, _ in people], "people")
    strand, names = Strand((HERE, theirs.clause), scope.in_states), {id_: name for name, id_, _ in people}
    return Segment([strand], names=names, size=_tasks(people), values=theirs.values)


def _alone(scope: Scope, people: Sequence[_Person]) -> Segment:
    """Those of one name, who are mostly one person."""
    strands: list[Strand] = []
    values: dict[str, Any] = {}
    for number, (_, id_, count) in enumerate(people):
        theirs = of_users([id_], f"person_{number}")
        values |= theirs.values
        if count > SORTABLE:
            strands += [replace(one, only=(*one.only, theirs.clause)) for one in by_id(scope)]
        else:
            strands.append(Strand((HERE, theirs.clause), scope.in_states, few=True))
    return Segment(strands, key=people[0][0], values=values)


def _people(
    session: Session, scope: Scope, among: set[int | None] | None, start: Place | None, descending: bool
) -> Iterator[_Person]:
    """Everybody who has tasks in the business, the Scheduler among them, from a name on."""
    after, nameless = (start[0], 0) if start else None, among is None or None in among
    bound = _Bound.FROM if start else _Bound.NONE
    values: dict[str, Any] = {"business": scope.business_id, "most": SORTABLE + 1, "at_once": AT_ONCE}
    if among is not None:
        values["among"] = sorted(one for one in among if one is not None)
    while True:
        last = dict(zip(("name", "id"), after, strict=True)) if after else {}
        some = session.connection().execute(_next(among is not None, bound, descending), values | last).tuples().all()
        for person in some:
            if nameless and (person[0] < _NAMELESS if descending else person[0] > _NAMELESS):
                nameless = False
                yield from _scheduler(session, values, start, descending)
            yield person
        if len(some) < AT_ONCE:
            break
        after, bound = some[-1][:2], _Bound.BEYOND
    if nameless:
        yield from _scheduler(session, values, start, descending)


class _Bound(enum.Enum):
    """Which people: all, those from a name on, or those behind somebody of a name and an id."""

    NONE, FROM, BEYOND = range(3)


@functools.cache
def _next(is_among: bool, bound: _Bound, descending: bool) -> Select[tuple[str, int, int]]:
    """Name, id and number of tasks of the next people who have any."""
    entries = select(Task.id).where(HERE, Task.user_id == User.id).correlate(User)
    count = select(func.count()).select_from(entries.limit(_MOST).subquery()).scalar_subquery()
    query = select(User.sort_name, User.id, count).where(entries.exists())
    if is_among:
        query = query.where(within(User.id, bindparam("among", type_=Numbers(Integer()))))
    name, id_ = bindparam("name", type_=User.sort_name.type), bindparam("id", type_=Integer)
    if bound is not _Bound.NONE:
        query = query.where(User.sort_name <= name if descending else User.sort_name >= name)
    if bound is _Bound.BEYOND:
        query = query.where(or_(User.sort_name != name, User.id < id_ if descending else User.id > id_))
    in_order = [one.desc() if descending else one.asc() for one in (User.sort_name, User.id)]
    return query.order_by(*in_order).limit(bindparam("at_once", type_=Integer))


def _scheduler(session: Session, values: Mapping[str, Any], start: Place | None, descending: bool) -> Iterator[_Person]:
    if start and (start[0] < _NAMELESS if descending else start[0] > _NAMELESS):
        return
    if count := session.connection().scalar(_nobodys(), values):
        yield _NAMELESS, None, count


@functools.cache
def _nobodys() -> Select[tuple[int]]:
    entries = select(Task.id).where(HERE, Task.user_id.is_(None)).limit(_MOST)
    return select(func.count()).select_from(entries.subquery())
