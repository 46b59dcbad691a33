"""Gathering: when an index knows that what may match is little, all of it is looked at, and sorted here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from jobs.conditions import Condition
from jobs.models import Task
from jobs.orders import Scope, by_created, by_id, sort_key
from jobs.walks import Found, Place, Strand, Way

MOST = 1_000  # tasks that are gathered
_WIDEST = 200  # users or types that are looked up one by one


def source(session: Session, scope: Scope, asked: Sequence[Condition]) -> Sequence[Strand] | None:
    """Strands that hold everything that is asked for and little else; None if there are none so small."""
    for strands in _sources(scope, asked):
        if not strands or (session.scalar(select(reduce(add, map(_size, strands)))) or 0) <= MOST:
            return strands
    return None


def gather(session: Session, scope: Scope, strands: Sequence[Strand], sort: str, way: Way) -> Found:
    """What a walk would find, of all that these strands hold."""
    places: list[Place] = []
    for one in strands:
        query = select(sort_key(scope, sort), Task.id).select_from(Task).where(*one.where, *one.only, *way.only)
        if sort == "user":
            query = query.outerjoin(Task.user)
        places += [(row[0], row[1]) for row in session.execute(query)]
    places.sort(reverse=way.descending)
    if start := way.start:
        places = [one for one in places if (one < start if way.descending else one > start)]
    return Found(places[: way.limit])


def _sources(scope: Scope, asked: Sequence[Condition]) -> Iterator[Sequence[Strand]]:
    known = [(one.width, one) for one in asked if one.width is not None and one.width <= _WIDEST]
    for _, one in sorted(known, key=lambda pair: pair[0]):
        yield [Strand((scope.here, one.clause), scope.in_states)]
    if scope.days:
        yield by_created(replace(scope, alone=None))
    yield by_id(scope)


def _size(strand: Strand) -> ColumnElement[int]:
    """How much it holds, up to more than is gathered."""
    entries = select(Task.id).where(*strand.where).limit(MOST + 1).subquery()
    return select(func.count()).select_from(entries).scalar_subquery()
