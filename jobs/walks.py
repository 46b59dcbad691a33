"""Walking along indexes: the next tasks of an order from a place on, with a limit to what is looked at.

An order is a sequence of segments. A segment holds the tasks of one key, by id, or those of a range of keys, by key and
id. Its strands are what one index each has in that order; they are merged here. Statements are kept:
they take longer to build than to run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from jobs.models import Task

_AT_LEAST = 200  # what a segment is counted as, since asking costs, too
SCAN = 3_000  # entries of indexes that a page looks at before it stops: some 5 ms

SCATTERED = 1_000  # the same where neighbours in the index lie far apart in the table
_OF_PEOPLE = 3  # what a task costs, in entries, where the tasks of some people are looked up

Place = tuple[Any, int]  # a key, and the id of a task that has it
Clauses = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True)
class Strand:
    """Tasks that an index has in order. `where` is what the index knows; `only` has to be looked up row by row.

    `few` are so few that they are sorted, since no index has them in order. `first` is a column that the index has
    before the key, with one value in all of the strand: to PostgreSQL, `IS NULL` is no such value unless it is told.
    """

    where: Clauses
    only: Clauses = ()
    few: bool = False
    first: Any = None


@dataclass(frozen=True)
class Segment:
    """Tasks that stand together in an order: those of one `key`, or those of a `column`, or of some users, by name.

    Of the latter it is known how many tasks they have in all: `size`. `values` are of the parameters of its strands.
    """

    strands: Sequence[Strand]
    key: Any = None
    column: Any = None
    names: Mapping[int | None, str] | None = None
    size: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)


Order = Callable[[Place | None, bool], Iterator[Segment]]  # from a place on, ascending or (True) descending


@dataclass(frozen=True)
class Found:
    """The next places. `stopped_at` is the last entry that was looked at, when that was not the end."""

    places: list[Place]
    stopped_at: Place | None = None


@dataclass(frozen=True)
class Way:
    """From where to go, in which direction, for how many tasks, and what must be true of them.

    `values` are of all parameters of the clauses, here and in strands.
    """

    start: Place | None
    descending: bool
    limit: int
    only: Clauses = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Course:
    """A way along a segment, whatever the place, the limit and the values: statements are kept by it.

    `after` is what must lie beyond the start: nothing, the id, or the key and the id.
    """

    column: Any
    after: str
    descending: bool
    only: Clauses


_LIMIT, _SCAN, _SKIPPED = (bindparam(name, type_=Integer) for name in ("limit", "scan", "skipped"))


def walk(session: Session, order: Order, way: Way) -> Found:
    """The next places of the order."""
    places: list[Place] = []
    left = SCAN
    for segment in order(way.start, way.descending):
        part, looked = _along(session, segment, replace(way, limit=way.limit - len(places)), max(left, 1))
        places, left = places + part.places, left - max(looked, _AT_LEAST)
        if len(places) >= way.limit:
            return Found(places[: way.limit])
        if part.stopped_at:
            return Found(places, part.stopped_at)
    return Found(places)


def _along(session: Session, segment: Segment, way: Way, scan: int) -> tuple[Found, int]:
    """The next of one segment, and how many entries that took."""
    if segment.names is not None:
        return _fetch_names(session, segment, way, scan), segment.size * _OF_PEOPLE
    scan = max(scan // (sum(not one.few for one in segment.strands) or 1), 1)
    if segment.column is Task.sort_title:
        scan = min(scan, SCATTERED)
    each = [replace(segment, strands=[one]) for one in segment.strands]
    fetched = zip(each, _fetch(session, segment, way, scan), strict=True)
    parts = [_end(session, one, places, way, scan) for one, places in fetched]
    stops = [part.stopped_at for part, _ in parts if part.stopped_at]
    places = sorted((place for part, _ in parts for place in part.places), reverse=way.descending)
    stop = (max(stops) if way.descending else min(stops)) if stops else None
    if stop:  # beyond it another strand may have more
        places = [one for one in places if (one >= stop if way.descending else one <= stop)]
    return Found(places, stop), sum(looked for _, looked in parts)


def _fetch(session: Session, segment: Segment, way: Way, scan: int) -> list[list[Place]]:
    """What each strand has next, all in one statement."""
    strands = tuple(segment.strands)
    # Not the session's: it would look for objects, which takes longer than some of these statements.
    rows = (
        session.connection().execute(_fetching(strands, _course(segment, way)), _values(segment, way, scan=scan)).all()
    )
    return [[_place(segment, row) for row in rows if row.strand == number] for number in range(len(strands))]


def _end(session: Session, segment: Segment, places: list[Place], way: Way, scan: int) -> tuple[Found, int]:
    """Whether that was the end of a strand, and how many of its entries have been looked at."""
    (strand,) = segment.strands
    if strand.few or len(places) >= way.limit or not (strand.only or way.only):
        return Found(places), len(places)
    course, values = _course(segment, way), _values(segment, way, scan=scan, skipped=scan - 1)
    last = session.connection().execute(_last(strand, course), values).first()
    if last:
        return Found(places, _place(segment, last)), scan
    return Found(places), session.connection().scalar(_counting(strand, course), values) or 0


def _fetch_names(session: Session, segment: Segment, way: Way, scan: int) -> Found:
    """Those of a few users that pass, sorted here."""
    (strand,) = segment.strands
    names, values = segment.names or {}, _values(segment, way)
    passing = session.connection().execute(_fetching_names(strand, way.only), values)
    places = _in_order(names, passing, way)
    if len(places) >= way.limit or scan > max(segment.size * _OF_PEOPLE, _AT_LEAST):
        return Found(places)
    every = _in_order(names, session.connection().execute(_names(strand), values), way)
    return Found(places, every[-1] if every else None)


def _in_order(names: Mapping[int | None, str], rows: Iterable[Any], way: Way) -> list[Place]:
    places = sorted(((names[row.user_id], row.id) for row in rows), reverse=way.descending)
    return [one for one in places if _is_beyond(one, way)]


def _is_beyond(place: Place, way: Way) -> bool:
    return way.start is None or (place < way.start if way.descending else place > way.start)


def _course(segment: Segment, way: Way) -> _Course:
    """Segments of one key lie behind the start, or hold it."""
    if way.start is None or (segment.column is None and segment.key != way.start[0]):
        after = ""
    else:
        after = "id" if segment.column is None or segment.column is Task.id else "key"
    return _Course(segment.column, after, way.descending, way.only)


def _values(segment: Segment, way: Way, **numbers: int) -> dict[str, Any]:
    start = dict(zip(("start_key", "start_id"), way.start, strict=True)) if way.start else {}
    return {**way.values, **segment.values, **start, "limit": way.limit, **numbers}


@functools.lru_cache(maxsize=512)
def _fetching(strands: tuple[Strand, ...], course: _Course) -> CompoundSelect[Any]:
    firsts = [_first(strand, course, number).subquery() for number, strand in enumerate(strands)]
    return union_all(*(select(literal(n).label("strand"), one.c.id, one.c.key) for n, one in enumerate(firsts)))


@functools.lru_cache(maxsize=256)
def _last(strand: Strand, course: _Course) -> Select[Any]:
    """The last entry that was looked at, if there are so many."""
    return _entries(strand, course).offset(_SKIPPED).limit(1)


@functools.lru_cache(maxsize=256)
def _counting(strand: Strand, course: _Course) -> Select[tuple[int]]:
    return select(func.count()).select_from(_entries(strand, course).limit(_SCAN).subquery())


@functools.lru_cache(maxsize=256)
def _fetching_names(strand: Strand, only: Clauses) -> Select[Any]:
    fits = and_(true(), *strand.only, *only).label("fits")
    few = _names(strand).add_columns(fits).cte("few").prefix_with("MATERIALIZED")  # see _first
    return select(few.c.user_id, few.c.id).where(few.c.fits)


@functools.lru_cache(maxsize=256)
def _names(strand: Strand) -> Select[Any]:
    return select(Task.user_id, Task.id).where(*strand.where)


def _entries(strand: Strand, course: _Course) -> Select[Any]:
    key = Task.id if course.column is None else course.column
    entries = select(Task.id.label("id"), key.label("key")).where(*strand.where)
    if strand.few:
        return entries
    columns = [one for one in (strand.first, key, Task.id) if one is not None]
    if key is Task.id:
        columns.pop()
    in_order = [one.desc() if course.descending else one.asc() for one in columns]
    return entries.where(*_beyond(course)).order_by(*in_order)


def _beyond(course: _Course) -> list[ColumnElement[bool]]:
    """What comes after the start."""
    if not course.after:
        return []
    id_ = bindparam("start_id", type_=Task.id.type)
    if course.after == "id":
        return [Task.id < id_ if course.descending else Task.id > id_]
    here = tuple_(course.column, Task.id)
    there = tuple_(bindparam("start_key", type_=course.column.type), id_)
    return [here < there if course.descending else here > there]


def _first(strand: Strand, course: _Course, number: int) -> Select[Any]:
    """The first entries that pass the checks, of at most `scan`: a LIMIT inside keeps the planner to the index.

    `number` tells strands of one statement apart: SQLAlchemy may give the same made-up name to two of them.
    """
    entries, checks = _entries(strand, course), (*strand.only, *course.only)
    if strand.few:
        # As a column: as a condition it would call for another index.
        fits = and_(true(), *checks, *_beyond(course)).label("fits")
        few = entries.add_columns(fits).cte(f"few_{number}").prefix_with("MATERIALIZED")
        in_order = [one.desc() if course.descending else one.asc() for one in (few.c.key, few.c.id)]
        return select(few.c.id, few.c.key).where(few.c.fits).order_by(*in_order).limit(_LIMIT)
    if not checks:
        return entries.limit(_LIMIT)
    looked_at = entries.add_columns(and_(*checks).label("fits")).limit(_SCAN).subquery()
    return select(looked_at.c.id, looked_at.c.key).where(looked_at.c.fits).limit(_LIMIT)


def _place(segment: Segment, row: Any) -> Place:
    return (segment.key if segment.column is None else row.key), row.id
