"""Which tasks a filter means, as conditions in SQL. What reads whole tables of names is looked up before."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, Select, and_, false, literal, or_, select, text
from sqlalchemy.orm import Session

from jobs import task_types
from jobs.filters import Origin, Priority, TaskFilter
from jobs.judge import Standing
from jobs.models import Task
from jobs.states import FINAL, WAITING, State
from jobs.terms import Term
from tenants.clock import clock
from tenants.models import User
from tenants.permissions import Actor, May
from tenants.within import Numbers, within

SCHEDULER = "Scheduler"  # the name of tasks without a user
_BIGGEST = 2**63 - 1
_MANY = 10

_TYPES = text("""
    WITH RECURSIVE types(name) AS (
      SELECT min(task_type) FROM tasks WHERE business_id = :business
      UNION ALL
      SELECT (SELECT min(task_type) FROM tasks WHERE business_id = :business AND task_type > types.name)
      FROM types WHERE types.name IS NOT NULL)
    SELECT name FROM types WHERE name IS NOT NULL""")


@dataclass(frozen=True)
class Condition:
    """A condition. `width` is in how many ranges an index finds all that it is true of; None: no index knows them.

    `state` is that of all tasks it is true of, if the condition says so much.
    """

    clause: ColumnElement[bool]
    width: int | None = None
    users: Collection[int | None] | None = None  # whose tasks it is about, if that is what it says
    state: State | None = None


def visible(by: Actor) -> list[Condition]:
    """Members see their own."""
    by.require(May.ENTER)
    return [] if by.may(May.SEE_ALL) else [of_users([by.user.id])]


def matching(session: Session, business_id: int, wanted: TaskFilter, standing: Standing) -> list[Condition]:
    """All that a filter asks for, but its view and state."""
    asked = [*_chosen(wanted), *(_meant(session, business_id, one, standing) for one in wanted.terms)]
    users = [target.user_id for target in standing.pauses.values()]
    if wanted.state is State.PAUSED and None not in users:
        asked.append(of_users(users))  # nobody else's is: a help for finding them
    return asked


def in_state(state: State, standing: Standing) -> ColumnElement[bool]:
    """The state as pages show it: what waits under a pause is Paused, marked or not."""
    if state in WAITING:
        return and_(Task.is_in(*WAITING), held(state is State.PAUSED, standing))
    return Task.is_in(state)


def held(is_held: bool, standing: Standing) -> ColumnElement[bool]:
    """Whether a pause holds what waits."""
    return standing.covering() if is_held else standing.sparing()


def either(*clauses: ColumnElement[bool]) -> ColumnElement[bool]:
    """One of these is true."""
    return or_(false(), *clauses)


def of_users(ids: Collection[int | None]) -> Condition:
    """The tasks of these users; None is the Scheduler."""
    known = sorted(one for one in ids if one is not None)
    many = within(Task.user_id, literal(known, Numbers(Integer())))
    clauses = [Task.user_id.in_(known) if len(known) < _MANY else many] if known else []
    if None in ids:
        clauses.append(Task.user_id.is_(None))
    return Condition(or_(false(), *clauses), len(ids), ids)


def of_types(names: Collection[str]) -> Condition:
    """The tasks of these types."""
    return Condition(Task.task_type.in_(sorted(names)), len(names))


def _chosen(wanted: TaskFilter) -> Iterator[Condition]:
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
    if wanted.late:
        yield is_late()
    yield from days(wanted)


def days(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    """Created between these days."""
    if wanted.begins_at:
        yield Task.created_at >= wanted.begins_at
    if wanted.ends_at:
        yield Task.created_at < wanted.ends_at


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


def _meant(session: Session, business_id: int, term: Term, standing: Standing) -> Condition:
    match term.field:
        case "user":
            return of_users(_users_named(session, term.value))
        case "type":
            return of_types(_types_named(session, business_id, term.value))
        case "state":
            known = term.value in set(State)
            return Condition(in_state(State(term.value), standing)) if known else _nothing()
        case "id":
            id_ = _id(term.value)
            return _nothing() if id_ is None else Condition(Task.id == id_, 1)
        case "failure":
            id_ = _id(term.value)
            return Condition(Task.failure_id == id_, 1, state=State.FAILED) if id_ else _nothing()
        case _:
            return _anything(session, business_id, term.value)


def _anything(session: Session, business_id: int, part: str) -> Condition:
    """A part of the user's name, of the type's title or name, or of the task's title; or the id."""
    either: list[ColumnElement[bool]] = [Task.sort_title.contains(part, autoescape=True)]
    if users := _users_named(session, part):
        either.append(of_users(users).clause)
    if types := _types_named(session, business_id, part):
        either.append(Task.task_type.in_(types))
    if (id_ := _id(part)) is not None:
        either.append(Task.id == id_)
    return Condition(or_(*either))


def _nothing() -> Condition:
    return Condition(false(), 0)


def _users_named(session: Session, part: str) -> Sequence[int | None]:
    """The users dictionary: small beside the tasks, so all of it is read."""
    found: list[int | None] = list(
        session.scalars(select(User.id).where(User.sort_name.contains(part, autoescape=True)))
    )
    return [*found, None] if part in SCHEDULER.lower() else found


def _types_named(session: Session, business_id: int, part: str) -> list[str]:
    known = types_in(session, business_id)
    return [name for name in known if part in name or part in task_types.title_of(name).lower()]


def types_in(session: Session, business_id: int) -> Sequence[str]:
    """The types of all tasks of a business, registered or not: one look at the index for each."""
    return session.scalars(_TYPES, {"business": business_id}).all()


def _id(written: str) -> int | None:
    is_number = written.isascii() and written.isdigit() and len(written) < 20
    return int(written) if is_number and int(written) <= _BIGGEST else None


def there(session: Session, business_id: int) -> list[Condition]:
    """That a task was not deleted: a final one is gone at once, though that can be undone. Mostly nothing."""
    ids = [id_ for id_, of, state in session.execute(_deleted()) if of == business_id and state in FINAL]
    return [Condition(Task.id.not_in(ids))] if ids else []


def deleted_waiting(session: Session, business_id: int) -> list[int]:
    """The tasks that were deleted while they waited, as long as that can be undone: Cancelling, and soon Canceled."""
    return [id_ for id_, of, state in session.execute(_deleted()) if of == business_id and state == State.CANCELLING]


@functools.cache
def _deleted() -> Select[tuple[int, int, str]]:
    """What was deleted and can be undone. Built once: every list asks it.

    Nothing else is in the query, so that no larger index fits: there are few such rows, and for half a minute only.
    """
    return select(Task.id, Task.business_id, Task.state).where(Task.undo_until.is_not(None))
