"""Gathering: when an index knows that what may match is little, all of it is looked at, and sorted here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from jobs.conditions import Condition
from jobs.models import Task
from jobs.orders import HERE, Scope, by_created, by_id, sort_key, titles
from jobs.recently import Recently
from jobs.walks import Clauses, Found, Place, Strand, Way

MOST = 1_000  # tasks that are gathered
_WIDEST = 200  # users or types that are looked up one by one
_MUCH_SECONDS = 10

# The business and the states of which there are more than MOST. If there no longer are, a walk finds the same.
_much = Recently()


def source(session: Session, scope: Scope, asked: Sequence[Condition]) -> Sequence[Strand] | None:
    """Strands that hold everything that is asked for and little else; None if there are none so small."""
    for strands in _sources(scope, asked):
        if not strands or _is_little(session, scope, strands):
            return strands
    every = by_id(scope)
    if _much.holds(session, (scope.business_id, scope.states)):
        return None
    if not every or _is_little(session, scope, every):
        return every
    _much.note(session, (scope.business_id, scope.states), _MUCH_SECONDS)
    return None


def gather(session: Session, scope: Scope, strands: Sequence[Strand], sort: str, way: Way) -> Found:
    """What a walk would find, of all that these strands hold."""
    places: list[Place] = []
    for one in strands:
        rows = session.connection().execute(_gathering(one, scope, sort, titles(), way.only), way.values)
        places += [(row[0], row[1]) for row in rows]
    places.sort(reverse=way.descending)
    if start := way.start:
        places = [one for one in places if (one < start if way.descending else one > start)]
    return Found(places[: way.limit])


def _sources(scope: Scope, asked: Sequence[Condition]) -> Iterator[Sequence[Strand]]:
    known = [(one.width, one) for one in asked if one.width is not None and one.width <= _WIDEST]
    for _, one in sorted(known, key=lambda pair: pair[0]):
        yield [Strand((HERE, one.clause), scope.in_states)]
    if scope.days:
        yield by_created(replace(scope, alone=None))


def _is_little(session: Session, scope: Scope, strands: Sequence[Strand]) -> bool:
    size = session.connection().scalar(_sizes(tuple(strands), MOST), scope.parameters)
    return (size or 0) <= MOST


@lru_cache(maxsize=256)
def _gathering(
    strand: Strand, scope: Scope, sort: str, of_types: tuple[tuple[str, str], ...], only: Clauses
) -> Select[Any]:
    """The key and the id of all in a strand for which `only` is true."""
    query = select(sort_key(scope, sort, of_types), Task.id).select_from(Task)
    query = query.where(*strand.where, *strand.only, *only)
    return query.outerjoin(Task.user) if sort == "user" else query


@lru_cache(maxsize=256)
def _sizes(strands: tuple[Strand, ...], most: int) -> Select[tuple[int]]:
    """How much they hold together, each counted up to one more than the most."""
    return select(reduce(add, (_size(one, most) for one in strands)))


def _size(strand: Strand, most: int) -> ColumnElement[int]:
    entries = select(Task.id).where(*strand.where).limit(most + 1).subquery()
    return select(func.count()).select_from(entries).scalar_subquery()
