"""Which tasks a filter means, as conditions in SQL. What reads whole tables of names is looked up before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from jobs import task_types
from jobs.filters import Origin, Priority, TaskFilter
from jobs.judge import Standing
from jobs.models import Task
from jobs.states import WAITING, State
from jobs.terms import Term
from tenants.clock import clock
from tenants.models import User
from tenants.permissions import Actor, May

SCHEDULER = "Scheduler"  # the name of tasks without a user
_BIGGEST = 2**63 - 1


@dataclass(frozen=True)
class Ranges:
    """Tasks that an index finds each by itself: those of some users or of some types, or one by its id."""

    users: Collection[int | None] = ()
    types: Collection[str] = ()
    id: int | None = None


@dataclass(frozen=True)
class Condition:
    """A condition, and the ranges that hold every task that it is true of; None if no index knows them."""

    clause: ColumnElement[bool]
    ranges: Ranges | None = None


def visible(by: Actor) -> list[Condition]:
    """Members see their own."""
    by.require(May.ENTER)
    return [] if by.may(May.SEE_ALL) else [of_users([by.user.id])]


def matching(session: Session, wanted: TaskFilter, standing: Standing) -> list[Condition]:
    """All that a filter asks for, but the states of its view."""
    return [*_chosen(wanted, standing), *(_meant(session, one, standing) for one in wanted.terms)]


def in_state(state: State, standing: Standing) -> ColumnElement[bool]:
    """The state as pages show it: what waits under a pause is Paused, marked or not."""
    if state in WAITING:
        held = standing.covering() if state is State.PAUSED else standing.sparing()
        return and_(Task.is_in(*WAITING), held)
    return Task.is_in(state)


def of_users(ids: Collection[int | None]) -> Condition:
    """The tasks of these users; None is the Scheduler."""
    known = sorted(one for one in ids if one is not None)
    clauses = [Task.user_id.in_(known)] if known else []
    if None in ids:
        clauses.append(Task.user_id.is_(None))
    return Condition(or_(false(), *clauses), Ranges(users=ids))


def of_types(names: Collection[str]) -> Condition:
    """The tasks of these types."""
    return Condition(Task.task_type.in_(sorted(names)), Ranges(types=names))


def _chosen(wanted: TaskFilter, standing: Standing) -> Iterator[Condition]:
    if wanted.state:
        yield Condition(in_state(wanted.state, standing))
    if wanted.user is not None:
        yield of_users([wanted.user])
    if wanted.type:
        yield of_types([wanted.type])
    if wanted.origin:
        system = wanted.origin is Origin.SYSTEM
        yield of_users([None]) if system else Condition(Task.user_id.is_not(None))
    yield from map(Condition, _plain(wanted))


def _plain(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    """What no index of its own knows."""
    if wanted.queue:
        yield Task.queue == wanted.queue
    if wanted.priority:
        yield _of_priority(wanted.priority)
    if wanted.begins_at:
        yield Task.created_at >= wanted.begins_at
    if wanted.ends_at:
        yield Task.created_at < wanted.ends_at
    if wanted.late:
        yield is_late()


def _of_priority(level: Priority) -> ColumnElement[bool]:
    match level:
        case Priority.HIGH:
            return Task.priority >= 10
        case Priority.MEDIUM:
            return Task.priority.between(5, 9)
        case _:
            return Task.priority < 5


def is_late() -> ColumnElement[bool]:
    """True of a task that has been running for longer than its type may, in the eyes of people."""
    known = {one.name: one.late_seconds for one in task_types.all_types()}
    unknown = Task.task_type.not_in(sorted(known)) & (Task.started_at < clock(-task_types.LATE_SECONDS))
    each = [
        and_(
            Task.task_type.in_(sorted(name for name, one in known.items() if one == seconds)),
            Task.started_at < clock(-seconds),
        )
        for seconds in sorted(set(known.values()))
    ]
    return and_(Task.is_in(State.RUNNING, State.CANCELLING), or_(unknown, *each))


def _meant(session: Session, term: Term, standing: Standing) -> Condition:
    match term.field:
        case "user":
            return of_users(_users_named(session, term.value))
        case "type":
            return of_types(_types_named(term.value))
        case "state":
            known = term.value in set(State)
            return Condition(in_state(State(term.value), standing)) if known else _nothing()
        case "id":
            return of_types([]) if (id_ := _id(term.value)) is None else Condition(Task.id == id_, Ranges(id=id_))
        case _:
            return _anything(session, term.value)


def _anything(session: Session, part: str) -> Condition:
    """A part of the user's name, of the type's title or name, or of the task's title; or the id."""
    either: list[ColumnElement[bool]] = [Task.sort_title.contains(part, autoescape=True)]
    if users := _users_named(session, part):
        either.append(of_users(users).clause)
    if types := _types_named(part):
        either.append(Task.task_type.in_(types))
    if (id_ := _id(part)) is not None:
        either.append(Task.id == id_)
    return Condition(or_(*either, Task.task_type.contains(part, autoescape=True)))


def _nothing() -> Condition:
    return Condition(false(), Ranges())


def _users_named(session: Session, part: str) -> Sequence[int | None]:
    """The users dictionary: small beside the tasks, so all of it is read."""
    found: list[int | None] = list(
        session.scalars(select(User.id).where(User.sort_name.contains(part, autoescape=True)))
    )
    return [*found, None] if part in SCHEDULER.lower() else found


def _types_named(part: str) -> list[str]:
    return [one.name for one in task_types.matching(part)]


def _id(written: str) -> int | None:
    is_number = written.isascii() and written.isdigit() and len(written) < 20
    return int(written) if is_number and int(written) <= _BIGGEST else None


def all_of(conditions: Sequence[Condition]) -> list[Any]:
    """Their clauses."""
    return [one.clause for one in conditions]
