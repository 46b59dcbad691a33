"""Submitting: one task or many, checked, as rows in the caller's transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import (
    JSON,
    Connection,
    String,
    Table,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from jobs import context, payloads, queue, task_types
from jobs.models import Task, sort_title
from jobs.states import FINAL
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import Conflict, Invalid
from tenants.models import Business, Member, User
from tenants.permissions import Actor, May

MAX_TITLE = 200
MAX_KEY = 200
_MAX_PRIORITY = 2**31 - 1
_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")

# Statements that every submit runs, built once and on tables: the ORM would take as long as the commit.
_tasks: Table = Task.__table__  # type: ignore[assignment]
_INSERT = insert(_tasks).returning(_tasks.c.id)
_BUSINESS = select(Business.id).where(Business.slug == bindparam("slug"), Business.archived_at.is_(None))
_USER = select(User.id).where(
    User.email == bindparam("email"),
    or_(
        User.is_platform_admin,
        exists().where(Member.user_id == User.id, Member.business_id == bindparam("business_id")),
    ),
)


class UnknownBusiness(Invalid):
    """There is no such business, or it is archived and takes no tasks."""


class UnknownUser(Invalid):
    """There is no such user in this business."""


class NoZone(Invalid):
    """A start time needs a time zone."""


class BadTimeout(Invalid):
    """A timeout is a number of seconds, more than 0 and a year at most."""


class BadKey(Invalid):
    """A unique key is a text of 1 to 200 characters. The time that it stays taken is a year at most."""


class DuplicateTask(Conflict):
    """This unique key is taken by another task."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"This unique key is taken by task {task_id}.", field="unique_key")
        self.task_id = task_id


def submit(
    task_type: str,
    *,
    business: str,
    user: str | None = None,
    payload: dict[str, Any] | None = None,
    title: str | None = None,
    priority: int = 0,
    start_at: datetime | None = None,
    timeout: float | None = None,
    unique_key: str | None = None,
    unique_for: float | timedelta | None = None,
    session: Session | None = None,
) -> int:
    """Add a task and answer its id.

    `business` is its short name, `user` an e-mail address (None: the Scheduler). `timeout`, in seconds, replaces the
    type's. No other task of the business can have the `unique_key` while this one is unfinished, nor for `unique_for`
    (seconds) from now: that is a DuplicateTask, which knows the task's id.

    With `session` the task joins the caller's transaction: it exists when that commits, and a rollback leaves nothing.
    Raises UnknownTaskType, BadPayload, UnknownBusiness, UnknownUser, NoZone, BadTimeout, BadKey, Invalid or
    DuplicateTask; then there is no row, and the caller's transaction goes on.
    """
    new = New(
        task_type,
        business,
        user,
        {} if payload is None else payload,
        title,
        priority,
        start_at=start_at,
        timeout=timeout,
        unique_key=unique_key,
        unique_for=unique_for,
    )
    if session is None:
        with transaction() as own:
            return _submit(own, new)
    return _submit(session, new)


def submit_many(
    task_type: str,
    payloads_: Iterable[dict[str, Any]],
    *,
    business: str,
    user: str | None = None,
    title: str | None = None,
    priority: int = 0,
    start_at: datetime | None = None,
    timeout: float | None = None,
    session: Session | None = None,
) -> list[int]:
    """Add a task of one type for each payload, all or none, and answer their ids in the same order.

    Everything but the payload is the same for all. The errors are those of `submit`, for the first that is wrong.
    """
    many = list(payloads_)
    new = New(task_type, business, user, {}, title, priority, start_at=start_at, timeout=timeout)
    if session is None:
        with transaction() as own:
            return _submit_many(own, new, many)
    return _submit_many(session, new, many)


def submit_as(
    session: Session,
    by: Actor,
    task_type: str,
    payload: dict[str, Any],
    *,
    title: str | None = None,
    priority: int = 0,
    start_at: datetime | None = None,
    timeout: float | None = None,
    unique_key: str | None = None,
    unique_for: float | timedelta | None = None,
) -> int:
    """Add a task of this person in this business."""
    by.require(May.SUBMIT)
    return submit(
        task_type,
        business=by.business.slug,
        user=by.user.email,
        payload=payload,
        title=title,
        priority=priority,
        start_at=start_at,
        timeout=timeout,
        unique_key=unique_key,
        unique_for=unique_for,
        session=session,
    )


@dataclass(frozen=True)
class New:
    """What a submit asks for."""

    task_type: str
    business: str
    user: str | None
    payload: dict[str, Any]
    title: str | None
    priority: int
    start_at: datetime | None = None
    timeout: float | None = None
    unique_key: str | None = None
    unique_for: float | timedelta | None = None
    rerun_of: int | None = None


@dataclass(frozen=True)
class Added:
    """The row that a submit made: what its caller needs to go on with it."""

    id: int
    business_id: int
    queue: str


def add(session: Session, new: New) -> Added:
    """The row of a new task. Nobody is woken for it: that is the caller's."""
    row, connection = _row(session, new), session.connection()
    if new.unique_key is not None:
        _keep_unique(session, row["business_id"], new.unique_key)
    statement = _INSERT
    if new.unique_for is not None:
        statement = statement.values(unique_until=clock(_seconds(new.unique_for)))
    id_ = connection.execute(statement, {**row, "payload": new.payload}).scalar_one()
    return Added(id_, row["business_id"], row["queue"])


def _submit(session: Session, new: New) -> int:
    added = add(session, new)
    queue.wake(session, added.business_id, added.queue)
    return added.id


def _submit_many(session: Session, new: New, many: list[dict[str, Any]]) -> list[int]:
    """One statement whatever their number: the payloads travel as one JSON value."""
    type_ = task_types.get(new.task_type)
    for one in many:
        payloads.check(type_, one)
    if not many:
        return []
    row = _row(session, replace(new, payload=many[0]))
    connection = session.connection()
    ids = connection.execute(_insert_many(connection, row), {"payloads": json.dumps(many, ensure_ascii=False)})
    queue.wake(session, row["business_id"], row["queue"])
    return sorted(ids.scalars())


def _insert_many(connection: Connection, row: dict[str, Any]) -> ReturningInsert[Any]:
    """One row for each element of the JSON array `payloads`, which is otherwise `row`."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(bindparam("payloads")).table_valued("value", "key")
        place = each.c.key
    else:
        array = cast(bindparam("payloads", type_=String), JSON)
        each = func.json_array_elements(array).table_valued("value", with_ordinality="place").render_derived()
        place = each.c.place
    same = {name: literal(value, _tasks.c[name].type) for name, value in row.items() if value is not None}
    query = select(*same.values(), each.c.value).order_by(place)
    return insert(_tasks).from_select([*same, "payload"], query).returning(_tasks.c.id)


def _row(session: Session, new: New) -> dict[str, Any]:
    """The columns of a new task but its payload; an error for the first thing that is wrong."""
    type_ = task_types.get(new.task_type)
    check(type_, new)
    _check_limits(new)
    connection = session.connection()
    business_id = _business_id(connection, new.business)
    return {
        "business_id": business_id,
        "user_id": _user_id(connection, business_id, new.user),
        "task_type": type_.name,
        "queue": type_.queue,
        "title": new.title or None,
        "sort_title": sort_title(new.title, type_.name),
        "priority": new.priority,
        "max_attempts": type_.max_attempts,
        "timeout_seconds": new.timeout,
        "unique_key": new.unique_key,
        **({"next_try_at": new.start_at} if new.start_at else {}),
        **_links(new),
    }


def _links(new: New) -> dict[str, int]:
    """The task that submits this one, in the same business; the one that it runs again."""
    parent = context.current()
    of = {"parent_id": parent.id} if parent and parent.business == new.business else {}
    return of | ({"rerun_of": new.rerun_of} if new.rerun_of else {})


def _keep_unique(session: Session, business_id: int, key: str) -> None:
    """DuplicateTask while a task of the business has this key; whoever else asks for it waits for our commit.

    Only the newest task with the key can have it: the older ones had lost it when that was added.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite's write lock does so by itself
        digest = hashlib.blake2b(f"{business_id}:{key}".encode(), digest_size=8).digest()
        session.execute(_LOCK, {"lock": int.from_bytes(digest, signed=True)})
    newest = (
        select(Task.id)
        .where(Task.business_id == business_id, Task.unique_key == key)
        .order_by(Task.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    taken = or_(Task.state.not_in(sorted(FINAL)), Task.unique_until > clock())
    holder = session.scalar(select(Task.id).where(Task.id == newest, taken))
    if holder is not None:
        raise DuplicateTask(holder)


def _business_id(connection: Connection, slug: object) -> int:
    found = None
    if isinstance(slug, str):
        found = connection.execute(_BUSINESS, {"slug": payloads.storable(slug)}).scalar()
    if found is None:
        raise UnknownBusiness(field="business")
    return int(found)


def _user_id(connection: Connection, business_id: int, email: str | None) -> int | None:
    if email is None:
        return None
    found = None
    if isinstance(email, str):
        about = {"email": payloads.storable(email.strip().lower()), "business_id": business_id}
        found = connection.execute(_USER, about).scalar()
    if found is None:
        raise UnknownUser(field="user")
    return int(found)


class Asked(Protocol):
    """What a submit and an edit have in common."""

    @property
    def title(self) -> str | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def start_at(self) -> datetime | None: ...
    @property
    def payload(self) -> dict[str, Any]: ...


def check(type_: task_types.TaskType, asked: Asked) -> None:
    """One clear error for the first thing that is wrong."""
    payloads.check(type_, asked.payload)
    if not _is_text(asked.title or "", MAX_TITLE):
        raise Invalid(f"A title has {MAX_TITLE} characters at most.", field="title")
    if not _is_priority(asked.priority):
        raise Invalid(
            f"A priority is a whole number between -{_MAX_PRIORITY:,} and {_MAX_PRIORITY:,}.", field="priority"
        )
    _check_start(asked.start_at)


def _check_start(at: object) -> None:
    if at is None:
        return
    if not isinstance(at, datetime):
        raise Invalid("A start time is a date and time with its zone.", field="start_at")
    if at.utcoffset() is None:
        raise NoZone(field="start_at")
    if not 1970 <= at.year <= 9000:
        raise Invalid("A start time lies between the years 1970 and 9000.", field="start_at")


def _check_limits(new: New) -> None:
    """The timeout and the unique key, which an edit leaves alone."""
    if new.timeout is not None and not task_types.is_seconds(new.timeout):
        raise BadTimeout(field="timeout")
    if new.unique_key is not None and not (new.unique_key and _is_text(new.unique_key, MAX_KEY)):
        raise BadKey(field="unique_key")
    if new.unique_for is not None and (new.unique_key is None or not task_types.is_seconds(_seconds(new.unique_for))):
        raise BadKey(field="unique_for")


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _is_text(value: object, most: int) -> bool:
    """Whether it is a text that fits and can be stored."""
    return isinstance(value, str) and len(value) <= most and value == payloads.storable(value)


def _is_priority(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_PRIORITY
