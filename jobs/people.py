"""The order by user: people by name, each with their tasks by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from jobs.conditions import SCHEDULER, Condition, of_users
from jobs.models import Task
from jobs.orders import Scope, by_id
from jobs.walks import Order, Place, Segment, Strand
from tenants.models import User

AT_ONCE = 50  # looked up at once
FEW = 60  # tasks of one person that are fetched together with those of others
SPARSE = 800  # the same, when only some of them are asked for
SORTABLE = 2_000
_NAMELESS = SCHEDULER.lower()

_Person = tuple[str, int | None, int]  # name, id, and how many tasks up to SORTABLE + 1


def by_name(session: Session, scope: Scope, asked: Sequence[Condition]) -> Order:
    """People in the order of their names, with those of their tasks that are in the scope."""
    known = [set(one.users) for one in asked if one.users is not None]
    among = set[int | None].intersection(*known) if known else None
    few = SPARSE if asked else FEW

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
    clause = of_users([id_ for _, id_, _ in people]).clause
    strand = Strand((scope.here, clause), scope.in_states)
    return Segment([strand], names={id_: name for name, id_, _ in people}, size=_tasks(people))


def _alone(scope: Scope, people: Sequence[_Person]) -> Segment:
    strands: list[Strand] = []
    for _, id_, count in people:
        clause = of_users([id_]).clause
        if count > SORTABLE:
            strands += [replace(one, only=(*one.only, clause)) for one in by_id(scope)]
        else:
            strands.append(Strand((scope.here, clause), scope.in_states, few=True))
    return Segment(strands, key=people[0][0])


def _people(
    session: Session, scope: Scope, among: set[int | None] | None, start: Place | None, descending: bool
) -> Iterator[_Person]:
    """Everybody who has tasks in the business, the Scheduler among them, from a name on."""
    name, nameless = start[0] if start else None, among is None or None in among
    including = True
    everybody = _everybody(scope.business_id, among)
    while True:
        some = _some(session, everybody, (name, including), descending)
        last = some[-1][0] if some else None
        for person in some:
            if nameless and (person[0] < _NAMELESS if descending else person[0] > _NAMELESS):
                nameless = False
                yield from _scheduler(session, scope.business_id, start, descending)
            yield person
        if len(some) < AT_ONCE:
            break
        name, including = last, False
    if nameless:
        yield from _scheduler(session, scope.business_id, start, descending)


def _everybody(business_id: int, among: set[int | None] | None) -> Select[tuple[str, int, int]]:
    """Name, id and number of tasks of all who have any."""
    entries = select(Task.id).where(Task.business_id == business_id, Task.user_id == User.id).correlate(User)
    count = select(func.count()).select_from(entries.limit(SORTABLE + 1).subquery()).scalar_subquery()
    query = select(User.sort_name, User.id, count).where(entries.exists())
    return query if among is None else query.where(User.id.in_(sorted(one for one in among if one is not None)))


def _some(
    session: Session, everybody: Select[tuple[str, int, int]], after: tuple[str | None, bool], descending: bool
) -> Sequence[_Person]:
    """The next people, from a name on or after it, and all who are called like the last of them."""
    query = everybody.order_by(User.sort_name.desc() if descending else User.sort_name.asc()).limit(AT_ONCE)
    name, including = after
    if name is not None:
        bound = (User.sort_name <= name) if descending else (User.sort_name >= name)
        query = query.where(bound if including else bound & (User.sort_name != name))
    found = [(row[0], row[1], row[2]) for row in session.execute(query)]
    if len(found) < AT_ONCE:
        return found
    last = found[-1][0]
    namesakes = session.execute(everybody.where(User.sort_name == last))
    return [*(one for one in found if one[0] != last), *((row[0], row[1], row[2]) for row in namesakes)]


def _scheduler(session: Session, business_id: int, start: Place | None, descending: bool) -> Iterator[_Person]:
    if start and (start[0] < _NAMELESS if descending else start[0] > _NAMELESS):
        return
    entries = select(Task.id).where(Task.business_id == business_id, Task.user_id.is_(None)).limit(SORTABLE + 1)
    if count := session.scalar(select(func.count()).select_from(entries.subquery())):
        yield _NAMELESS, None, count
