"""Walking along indexes: the next tasks of an order from a place on, with a limit to what is looked at.

An order is a sequence of segments. A segment holds the tasks of one key, by id, or those of a range of keys, by key and
id. Its strands are what one index each has in that order; they are merged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, true, tuple_, union_all
from sqlalchemy.orm import Session

from jobs.models import Task

_AT_LEAST = 200  # what a segment is counted as, since asking costs, too
SCAN = 5_000  # entries of indexes that a page looks at before it stops: some 10 ms

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

    Of the latter it is known how many tasks they have in all: `size`.
    """

    strands: Sequence[Strand]
    key: Any = None
    column: Any = None
    names: Mapping[int | None, str] | None = None
    size: int = 0


Order = Callable[[Place | None, bool], Iterator[Segment]]  # from a place on, ascending or (True) descending


@dataclass(frozen=True)
class Found:
    """The next places. `stopped_at` is the last entry that was looked at, when that was not the end."""

    places: list[Place]
    stopped_at: Place | None = None


@dataclass(frozen=True)
class Way:
    """From where to go, in which direction, for how many tasks, and what must be true of them."""

    start: Place | None
    descending: bool
    limit: int
    only: Clauses = ()


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
    firsts = [_first(segment, strand, way, scan, n).subquery() for n, strand in enumerate(segment.strands)]
    queries = [select(literal(place).label("strand"), one.c.id, one.c.key) for place, one in enumerate(firsts)]
    rows = session.execute(union_all(*queries)).all()
    return [[_place(segment, row) for row in rows if row.strand == place] for place in range(len(firsts))]


def _end(session: Session, segment: Segment, places: list[Place], way: Way, scan: int) -> tuple[Found, int]:
    """Whether that was the end of a strand, and how many of its entries have been looked at."""
    (strand,) = segment.strands
    if strand.few or len(places) >= way.limit or not (strand.only or way.only):
        return Found(places), len(places)
    entries = _entries(segment, strand, way)
    last = session.execute(entries.offset(scan - 1).limit(1)).first()
    if last:
        return Found(places, _place(segment, last)), scan
    return Found(places), session.scalar(select(func.count()).select_from(entries.limit(scan).subquery())) or 0


def _fetch_names(session: Session, segment: Segment, way: Way, scan: int) -> Found:
    """Those of a few users that pass, sorted here."""
    (strand,) = segment.strands
    names, checks = segment.names or {}, (*strand.only, *way.only)
    entries = select(Task.user_id, Task.id, and_(true(), *checks).label("fits")).where(*strand.where)
    few = entries.cte("few").prefix_with("MATERIALIZED")  # see _first
    passing = session.execute(select(few.c.user_id, few.c.id).where(few.c.fits))
    places = _in_order(names, passing, way)
    if len(places) >= way.limit or scan > max(segment.size * _OF_PEOPLE, _AT_LEAST):
        return Found(places)
    every = _in_order(names, session.execute(select(Task.user_id, Task.id).where(*strand.where)), way)
    return Found(places, every[-1] if every else None)


def _in_order(names: Mapping[int | None, str], rows: Iterable[Any], way: Way) -> list[Place]:
    places = sorted(((names[row.user_id], row.id) for row in rows), reverse=way.descending)
    return [one for one in places if _is_beyond(one, way)]


def _is_beyond(place: Place, way: Way) -> bool:
    return way.start is None or (place < way.start if way.descending else place > way.start)


def _entries(segment: Segment, strand: Strand, way: Way) -> Select[Any]:
    key = Task.id if segment.column is None else segment.column
    entries = select(Task.id.label("id"), key.label("key")).where(*strand.where)
    if strand.few:
        return entries
    columns = [one for one in (strand.first, key, Task.id) if one is not None]
    if key is Task.id:
        columns.pop()
    in_order = [one.desc() if way.descending else one.asc() for one in columns]
    return entries.where(*_beyond(segment, way)).order_by(*in_order)


def _beyond(segment: Segment, way: Way) -> list[ColumnElement[bool]]:
    """What comes after the start. Segments of one key lie behind it, or hold it."""
    if way.start is None:
        return []
    (key, id_), descending = way.start, way.descending
    if segment.column is None:
        if segment.key != key:
            return []
        return [Task.id < id_ if descending else Task.id > id_]
    if segment.column is Task.id:
        return [Task.id < id_ if descending else Task.id > id_]
    here, there = tuple_(segment.column, Task.id), tuple_(literal(key, segment.column.type), literal(id_))
    return [here < there if descending else here > there]


def _first(segment: Segment, strand: Strand, way: Way, scan: int, number: int) -> Select[Any]:
    """The first entries that pass the checks, of at most `scan`: a LIMIT inside keeps the planner to the index.

    `number` tells strands of one statement apart: SQLAlchemy may give the same made-up name to two of them.
    """
    entries, checks = _entries(segment, strand, way), (*strand.only, *way.only)
    if strand.few:
        # As a column: as a condition it would call for another index.
        fits = and_(true(), *checks, *_beyond(segment, way)).label("fits")
        few = entries.add_columns(fits).cte(f"few_{number}").prefix_with("MATERIALIZED")
        in_order = [one.desc() if way.descending else one.asc() for one in (few.c.key, few.c.id)]
        return select(few.c.id, few.c.key).where(few.c.fits).order_by(*in_order).limit(way.limit)
    if not checks:
        return entries.limit(way.limit)
    looked_at = entries.add_columns(and_(*checks).label("fits")).limit(scan).subquery()
    return select(looked_at.c.id, looked_at.c.key).where(looked_at.c.fits).limit(way.limit)


def _place(segment: Segment, row: Any) -> Place:
    return (segment.key if segment.column is None else row.key), row.id
