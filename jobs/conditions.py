"""Which tasks a filter means, as conditions in SQL. What reads whole tables of names is looked up before.

Conditions of one kind share a clause, built once, and differ by the values of its parameters: so statements can be
kept, which take much longer to build than to run.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, false, or_, select, text
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
    """A condition, and the values of its parameters.

    `width` is in how many ranges an index finds all that it is true of; None: no index knows them. `state` is that of
    all tasks it is true of, if the condition says so much.
    """

    clause: ColumnElement[bool]
    values: Mapping[str, Any] = field(default_factory=dict, compare=False)
    width: int | None = field(default=None, compare=False)
    users: Collection[int | None] | None = field(default=None, compare=False)  # whose tasks it is about, if just that
    state: State | None = None


def visible(by: Actor) -> list[Condition]:
    """Members see their own."""
    by.require(May.ENTER)
    return [] if by.may(May.SEE_ALL) else [of_users([by.user.id], "viewer")]


def matching(session: Session, business_id: int, wanted: TaskFilter, standing: Standing) -> list[Condition]:
    """All that a filter asks for, but its view and state."""
    asked = [*_chosen(wanted)]
    for number, term in enumerate(wanted.terms):
        asked.append(_meant(session, business_id, term, standing, f"term_{number}"))
    return asked


def of_paused(standing: Standing) -> list[Condition]:
    """Whose tasks the paused ones are, if pauses are about users only: a help for finding them."""
    users = [target.user_id for target in standing.pauses.values()]
    return [] if None in users else [of_users(users, "paused")]


def of_canceled(deleted: Collection[int]) -> list[Condition]:
    """That of what is being canceled these are meant only. Mostly nothing, and then nothing is looked up row by row."""
    return [Condition(_CANCELED_SOON, {"deleted": list(deleted)})] if deleted else []


@functools.lru_cache(maxsize=256)
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


def of_users(ids: Collection[int | None], name: str = "users") -> Condition:
    """The tasks of these users; None is the Scheduler. `name` is that of the parameter."""
    known = sorted(one for one in ids if one is not None)
    clause = _of_users(name, bool(known), len(known) >= _MANY, None in ids)
    return Condition(clause, {name: known} if known else {}, len(ids), ids)


def of_types(names: Collection[str], name: str = "types") -> Condition:
    """The tasks of these types. `name` is that of the parameter."""
    return Condition(_is_any_type(name), {name: sorted(names)}, len(names))


@functools.lru_cache(maxsize=256)
def _of_users(name: str, are_any: bool, are_many: bool, or_nobody: bool) -> ColumnElement[bool]:
    clauses = [Task.user_id.is_(None)] if or_nobody else []
    if are_many:
        clauses.append(within(Task.user_id, bindparam(name, type_=Numbers(Integer()))))  # type: ignore[arg-type]
    elif are_any:
        clauses.append(Task.user_id.in_(bindparam(name, expanding=True)))
    return either(*clauses)


@functools.lru_cache(maxsize=256)
def _is_any_type(name: str) -> ColumnElement[bool]:
    return Task.task_type.in_(bindparam(name, expanding=True))


def _chosen(wanted: TaskFilter) -> Iterator[Condition]:
    if wanted.user is not None:
        yield of_users([wanted.user])
    if wanted.type:
        yield of_types([wanted.type])
    if wanted.origin:
        system = wanted.origin is Origin.SYSTEM
        yield of_users([None]) if system else Condition(_HAS_USER)
    if wanted.queue:
        yield Condition(_IN_QUEUE, {"queue": wanted.queue})
    if wanted.priority:
        yield Condition(_OF_PRIORITY[wanted.priority])
    if wanted.late:
        yield Condition(is_late())
    yield from days(wanted)


def days(wanted: TaskFilter) -> Iterator[Condition]:
    """Created between these days."""
    if wanted.begins_at:
        yield Condition(_SINCE, {"begins_at": wanted.begins_at})
    if wanted.ends_at:
        yield Condition(_BEFORE, {"ends_at": wanted.ends_at})


_HAS_USER = Task.user_id.is_not(None)
_IN_QUEUE = Task.queue == bindparam("queue")
_SINCE, _BEFORE = Task.created_at >= bindparam("begins_at"), Task.created_at < bindparam("ends_at")
_OF_PRIORITY = {
    Priority.HIGH: Task.priority >= 10,
    Priority.MEDIUM: Task.priority.between(5, 9),
    Priority.LOW: Task.priority < 5,
}


def is_late() -> ColumnElement[bool]:
    """True of a task that has been running for longer than its type may, in the eyes of people."""
    return _is_late(tuple(sorted((one.name, one.late_seconds) for one in task_types.all_types())))


@functools.lru_cache(maxsize=8)
def _is_late(known: tuple[tuple[str, float], ...]) -> ColumnElement[bool]:
    unknown = Task.task_type.not_in([name for name, _ in known]) & (Task.started_at < clock(-task_types.LATE_SECONDS))
    each = [
        and_(Task.task_type.in_([name for name, one in known if one == seconds]), Task.started_at < clock(-seconds))
        for seconds in sorted({seconds for _, seconds in known})
    ]
    return and_(Task.is_in(State.RUNNING, State.CANCELLING), or_(unknown, *each))


def _meant(session: Session, business_id: int, term: Term, standing: Standing, name: str) -> Condition:
    match term.field:
        case "user":
            return of_users(_users_named(session, term.value), name)
        case "type":
            return of_types(_types_named(session, business_id, term.value), name)
        case "state":
            known = term.value in set(State)
            return Condition(in_state(State(term.value), standing)) if known else _NOTHING
        case "id":
            id_ = _id(term.value)
            return _NOTHING if id_ is None else Condition(_is_number(Task.id, name), {name: id_}, 1)
        case "failure":
            id_ = _id(term.value)
            clause = _is_number(Task.failure_id, name)
            return Condition(clause, {name: id_}, 1, state=State.FAILED) if id_ else _NOTHING
        case _:
            return _anything(session, business_id, term.value, name)


_NOTHING = Condition(false(), width=0)


def _anything(session: Session, business_id: int, part: str, name: str) -> Condition:
    """A part of the user's name, of the type's title or name, or of the task's title; or the id."""
    users = of_users(_users_named(session, part), f"{name}_users")
    types = of_types(_types_named(session, business_id, part), f"{name}_types")
    id_ = _id(part)
    of = [one for one in (users, types) if one.width]
    clauses = [one.clause for one in of]
    if id_ is not None:
        clauses.append(_is_number(Task.id, f"{name}_id"))
    values = {f"{name}_title": _like(part), f"{name}_id": id_}
    for one in of:
        values |= one.values
    return Condition(_says_or(name, *clauses), values)


@functools.lru_cache(maxsize=256)
def _says_or(name: str, *others: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(Task.sort_title.contains(bindparam(f"{name}_title"), escape="/"), *others)


@functools.lru_cache(maxsize=256)
def _is_number(column: Any, name: str) -> ColumnElement[bool]:
    clause: ColumnElement[bool] = column == bindparam(name)
    return clause


def _like(part: str) -> str:
    """A text as a part of a pattern, with the escapes that `contains` is told of."""
    return part.replace("/", "//").replace("%", "/%").replace("_", "/_")


@functools.cache
def _naming() -> Select[tuple[int]]:
    return select(User.id).where(User.sort_name.contains(bindparam("part"), escape="/"))


def _users_named(session: Session, part: str) -> Sequence[int | None]:
    """The users dictionary: small beside the tasks, so all of it is read."""
    found: list[int | None] = list(session.connection().scalars(_naming(), {"part": _like(part)}))
    return [*found, None] if part in SCHEDULER.lower() else found


def _types_named(session: Session, business_id: int, part: str) -> list[str]:
    known = types_in(session, business_id)
    return [name for name in known if part in name or part in task_types.title_of(name).lower()]


def types_in(session: Session, business_id: int) -> Sequence[str]:
    """The types of all tasks of a business, registered or not: one look at the index for each."""
    return session.connection().scalars(_TYPES, {"business": business_id}).all()


def _id(written: str) -> int | None:
    is_number = written.isascii() and written.isdigit() and len(written) < 20
    return int(written) if is_number and int(written) <= _BIGGEST else None


_NOT_GONE = Task.id.not_in(bindparam("gone", expanding=True))
_CANCELED_SOON = or_(Task.state != State.CANCELLING, Task.id.in_(bindparam("deleted", expanding=True)))


def there(session: Session, business_id: int) -> tuple[list[Condition], list[int]]:
    """That a task was not deleted: a final one is gone at once, though that can be undone. Mostly nothing.

    And the tasks that were deleted while they waited, as long as that can be undone: Cancelling, and soon Canceled.
    """
    found = [(id_, state) for id_, of, state in session.connection().execute(_deleted()) if of == business_id]
    gone = [id_ for id_, state in found if state in FINAL]
    waited = [id_ for id_, state in found if state == State.CANCELLING]
    return [Condition(_NOT_GONE, {"gone": gone})] if gone else [], waited


@functools.cache
def _deleted() -> Select[tuple[int, int, str]]:
    """What was deleted and can be undone. Built once: every list asks it.

    Nothing else is in the query, so that no larger index fits: there are few such rows, and for half a minute only.
    """
    return select(Task.id, Task.business_id, Task.state).where(Task.undo_until.is_not(None))
