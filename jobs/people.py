"""The order by user: people by name, each with their tasks by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.conditions import SCHEDULER, of_users
from jobs.models import Task
from jobs.walks import Clauses, Order, Place, Segment, Strand
from tenants.models import User

AT_ONCE = 50  # looked up at once
FEW = 60  # tasks of one person that are fetched together with those of others
SORTABLE = 5_000
_NAMELESS = SCHEDULER.lower()

_Person = tuple[str, int | None, int]  # name, id, and how many tasks up to SORTABLE + 1


def by_name(session: Session, business_id: int, all_: Sequence[Strand], in_states: Clauses) -> Order:
    """People in the order of their names; `all_` is everybody's tasks by id, for those who have very many."""

    def segments(start: Place | None, descending: bool) -> Iterator[Segment]:
        batch: list[_Person] = []
        for _, same in groupby(_people(session, business_id, start, descending), key=lambda one: one[0]):
            people = list(same)
            if sum(count for _, _, count in people) <= FEW:
                batch += people
                if sum(count for _, _, count in batch) > FEW:
                    yield _together(business_id, batch, in_states)
                    batch = []
                continue
            if batch:
                yield _together(business_id, batch, in_states)
                batch = []
            yield _alone(business_id, people, all_, in_states)
        if batch:
            yield _together(business_id, batch, in_states)

    return segments


def _together(business_id: int, people: Sequence[_Person], in_states: Clauses) -> Segment:
    clause = of_users([id_ for _, id_, _ in people]).clause
    strand = Strand((Task.business_id == business_id, clause), in_states)
    return Segment([strand], names={id_: name for name, id_, _ in people})


def _alone(business_id: int, people: Sequence[_Person], all_: Sequence[Strand], in_states: Clauses) -> Segment:
    strands: list[Strand] = []
    for _, id_, count in people:
        clause = of_users([id_]).clause
        if count > SORTABLE:
            strands += [replace(one, only=(*one.only, clause)) for one in all_]
        else:
            strands.append(Strand((Task.business_id == business_id, clause), in_states, few=True))
    return Segment(strands, key=people[0][0])


def _people(session: Session, business_id: int, start: Place | None, descending: bool) -> Iterator[_Person]:
    """Everybody who has tasks in the business, the Scheduler among them, from a name on."""
    name, nameless = start[0] if start else None, True
    including = True
    while True:
        some = _some(session, business_id, name, including, descending)
        last = some[-1][0] if some else None
        for person in some:
            if nameless and (person[0] < _NAMELESS if descending else person[0] > _NAMELESS):
                nameless = False
                yield from _scheduler(session, business_id, start, descending)
            yield person
        if len(some) < AT_ONCE:
            break
        name, including = last, False
    if nameless:
        yield from _scheduler(session, business_id, start, descending)


def _some(session: Session, business_id: int, name: str | None, including: bool, descending: bool) -> Sequence[_Person]:
    """The next people, and all who are called like the last of them."""
    entries = select(Task.id).where(Task.business_id == business_id, Task.user_id == User.id).correlate(User)
    count = select(func.count()).select_from(entries.limit(SORTABLE + 1).subquery()).scalar_subquery()
    everybody = select(User.sort_name, User.id, count).where(entries.exists())
    query = everybody.order_by(User.sort_name.desc() if descending else User.sort_name.asc()).limit(AT_ONCE)
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
