"""Failures as people handle them: groups of a type and an error, to resolve, to ignore. `jobs.grouping` makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, select, tuple_, update
from sqlalchemy.orm import Session, joinedload

from jobs import pages, task_types
from jobs.counting import LIMIT, Count
from jobs.failure_filters import FailureFilter, FailureState
from jobs.models import Failure, Task
from jobs.walks import Place
from tenants import audit
from tenants.clock import clock
from tenants.database import any_id
from tenants.errors import Conflict, NotFound
from tenants.permissions import Actor, May

_ACTS = {
    FailureState.OPEN: "reopen failure",
    FailureState.RESOLVED: "resolve failure",
    FailureState.IGNORED: "ignore failure",
}


class ChangedMeanwhile(Conflict):
    """Somebody else, or a new failure, has changed this since."""


@dataclass(frozen=True)
class Page:
    """A page of groups, and how many there are of each state. Cursors are None where the list ends."""

    rows: Sequence[Failure]
    counts: Mapping[FailureState, Count]
    total: int
    is_capped: bool
    newer: str | None
    older: str | None


def error_of(failure: Failure) -> str:
    """What went wrong, with # for each number: the exception's class, and what it said."""
    return ": ".join(one for one in (failure.kind, failure.message) if one) or "No message"


def search(session: Session, by: Actor, wanted: FailureFilter) -> Page:
    """The groups of failures of the business as wanted."""
    by.require(May.SEE_ALL)
    cursor = pages.decode(wanted.after or wanted.before, wanted.sort)
    backwards = bool(wanted.before and not wanted.after and cursor)
    key, descending = _key(wanted.sort), wanted.descending is not backwards
    query = select(Failure, key.label("key")).where(Failure.business_id == by.business.id)
    query = query.where(Failure.state == wanted.state).options(joinedload(Failure.changer))
    found = session.execute(_from(query, key, cursor, descending).limit(wanted.size + 1)).all()
    if backwards and not found:
        return search(session, by, replace(wanted, before=""))  # nothing is before it any more: begin anew
    places: list[Place] = [(row.key, row.Failure.id) for row in found]
    shown = places[: wanted.size]
    beyond = shown[-1] if len(places) > wanted.size else None
    behind = (shown[0] if shown else cursor) if cursor else None
    newer, older = (beyond, behind) if backwards else (behind, beyond)
    rows, counts = [row.Failure for row in found[: wanted.size]], _counts(session, by)
    number = counts[wanted.state]
    return Page(
        rows=rows[::-1] if backwards else rows,
        counts=counts,
        total=number.number,
        is_capped=number.is_capped,
        newer=pages.encode(newer),
        older=pages.encode(older),
    )


def get(session: Session, by: Actor, failure_id: int) -> Failure:
    """A group of failures of the business; else NotFound."""
    by.require(May.SEE_ALL)
    here = (Failure.id == any_id(failure_id), Failure.business_id == by.business.id)
    found = session.scalar(select(Failure).where(*here).execution_options(populate_existing=True))
    if found is None:
        raise NotFound
    return found


def find(session: Session, by: Actor, written: str) -> Failure | None:
    """The group of failures that a search such as `failure:12` names, if the actor may see it."""
    is_id = written.isascii() and written.isdigit() and len(written) < 19
    if not is_id or not by.may(May.SEE_ALL):
        return None
    return session.scalar(select(Failure).where(Failure.id == int(written), Failure.business_id == by.business.id))


def of_task(session: Session, by: Actor, task: Task) -> Failure | None:
    """The group of failures that a task of the business is in, if the actor may see it."""
    return find(session, by, str(task.failure_id)) if task.failure_id else None


def change(
    session: Session, by: Actor, failure_id: int, to: FailureState, *, was: FailureState | None = None
) -> tuple[Failure, FailureState]:
    """Resolve, ignore or open a group again; answer it with the state before. Doing it twice changes nothing.

    With `was`, ChangedMeanwhile if it has another state by now: what is undone must be what was done.
    """
    by.require(May.MANAGE)
    before = FailureState(get(session, by, failure_id).state)
    if was not in (None, before):
        raise ChangedMeanwhile
    if before is not to:
        changed = session.scalar(
            update(Failure)
            .where(Failure.id == failure_id, Failure.state == before)
            .values(state=to, changed_at=clock(), changed_by=by.user.id)
            .returning(Failure.id)
            .execution_options(synchronize_session=False)
        )
        if changed is None:
            raise ChangedMeanwhile
    failure = get(session, by, failure_id)
    if before is not to:
        after = {"state": to, "task_type": failure.task_type, "error": error_of(failure)}
        audit.record(session, by, _ACTS[to], f"failure:{failure.id}", before={"state": before}, after=after)
    return failure, before


def _key(sort: str) -> ColumnElement[Any]:
    match sort:
        case "type":
            titles = {one.name: one.title.lower() for one in task_types.all_types()}
            return (
                case(titles, value=Failure.task_type, else_=Failure.task_type)
                if titles
                else Failure.task_type.expression
            )
        case "error":
            return Failure.kind + ": " + Failure.message
        case "count":
            return Failure.count.expression
        case "first":
            return Failure.first_at.expression
        case _:
            return Failure.last_at.expression


def _from(query: Select[Any], key: ColumnElement[Any], cursor: Place | None, descending: bool) -> Select[Any]:
    """The rows from a place on, in order."""
    if cursor:
        here, there = tuple_(key, Failure.id), tuple_(literal(cursor[0], key.type), literal(cursor[1]))
        query = query.where(here < there if descending else here > there)
    return query.order_by(*(one.desc() if descending else one.asc() for one in (key, Failure.id)))


def _counts(session: Session, by: Actor) -> dict[FailureState, Count]:
    """How many groups there are of each state, up to a limit."""
    counts = {}
    for state in FailureState:
        some = select(Failure.id).where(Failure.business_id == by.business.id, Failure.state == state)
        number = session.scalar(select(func.count()).select_from(some.limit(LIMIT + 1).subquery())) or 0
        counts[state] = Count(min(number, LIMIT), number > LIMIT)
    return counts
