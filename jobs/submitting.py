"""Submitting: one task or many, checked, as rows in the caller's transaction."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    String,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.selectable import TableValuedAlias

from jobs import checks, context, payloads, queue, task_types, unique
from jobs.checks import New
from jobs.models import Task, sort_title
from tenants import direct
from tenants.clock import clock
from tenants.database import bound, table, transaction
from tenants.errors import Invalid
from tenants.models import Business, Member, User
from tenants.permissions import Actor, May

_tasks, _businesses, _users, _members = map(table, (Task, Business, User, Member))
_OPEN = (_businesses.c.slug == bindparam("slug"), _businesses.c.archived_at.is_(None))
_AT_HOME = or_(
    _users.c.is_platform_admin,
    exists().where(_members.c.user_id == _users.c.id, _members.c.business_id == _businesses.c.id),
)


class UnknownBusiness(Invalid):
    """There is no such business, or it is archived and takes no tasks."""


class UnknownUser(Invalid):
    """There is no such user in this business."""


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
    ref: str | None = None,
    session: Session | None = None,
) -> int:
    """Add a task and answer its id.

    `business` is its short name, `user` an e-mail address (None: the Scheduler). `timeout`, in seconds, replaces the
    type's. No other task of the business can have the `unique_key` while this one is unfinished, nor for `unique_for`
    (seconds) from now: that is a DuplicateTask, which knows the task's id. `ref` names what the task builds, in the
    words of the host application; `jobs.refs` finds the tasks of one.

    With `session` the task joins the caller's transaction: it exists when that commits, and a rollback leaves nothing.
    Raises UnknownTaskType, BadPayload, UnknownBusiness, UnknownUser, NoZone, BadTimeout, BadKey, BadRef,
    Invalid or DuplicateTask; then there is no row, and the caller's transaction goes on.
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
        ref=ref,
    )
    if session is not None:
        return _submit(session, new)
    if new.unique_key is None:
        return _insert_alone(new, [checks.check_new(task_types.get(new.task_type), new)])[0]
    with transaction() as own:
        return _submit(own, new)


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
    ref: str | None = None,
    session: Session | None = None,
) -> list[int]:
    """Add a task of one type for each payload, all or none, and answer their ids in the same order.

    Everything but the payload is the same for all. The errors are those of `submit`, for the first that is wrong.
    """
    given = list(payloads_)
    new = New(task_type, business, user, {}, title, priority, start_at=start_at, timeout=timeout, ref=ref)
    many = _check_many(new, given)
    if not many:
        return []
    if session is None:
        return _insert_alone(new, many)
    added = _insert(session.connection(), new, many)
    queue.wake(session, added[0].business_id, added[0].queue)
    return sorted(one.id for one in added)


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
    ref: str | None = None,
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
        ref=ref,
        session=session,
    )


@dataclass(frozen=True)
class Added:
    """The row that a submit made: what its caller needs to go on with it."""

    id: int
    business_id: int
    queue: str


def add(session: Session, new: New) -> Added:
    """The row of a new task. Nobody is woken for it: that is the caller's."""
    payload = checks.check_new(task_types.get(new.task_type), new)
    if new.unique_key is not None:
        unique.keep(session, _business_id(session.connection(), new.business), new.unique_key)
    return _insert(session.connection(), new, [payload])[0]


def _submit(session: Session, new: New) -> int:
    added = add(session, new)
    queue.wake(session, added.business_id, added.queue)
    return added.id


def _check_many(new: New, many: list[dict[str, Any]]) -> list[str]:
    """Each payload as JSON."""
    type_ = task_types.get(new.task_type)
    encoded = [payloads.check(type_, one) for one in many]
    if many:
        checks.check_new(type_, new._replace(payload=many[0]))
    return encoded


def _insert_alone(new: New, many: list[str]) -> list[int]:
    """Insert, commit and wake; the ids in the order of the payloads."""
    rows = direct.write(*_statement(bound().dialect.name, new, many))
    if not rows:
        with transaction(read_only=True) as session:
            _refuse(session.connection(), new)
    _, business_id, name = rows[0]
    queue.wake_soon(business_id, name)
    return sorted(row[0] for row in rows)


def _insert(connection: Connection, new: New, many: list[str]) -> list[Added]:
    """A row for each payload; UnknownBusiness or UnknownUser, and no row, if the names lead nowhere."""
    rows = connection.execute(*_statement(connection.dialect.name, new, many)).all()
    if not rows:
        _refuse(connection, new)
    return [Added(*row) for row in rows]


def _refuse(connection: Connection, new: New) -> NoReturn:
    _business_id(connection, new.business)
    raise UnknownUser(field="user")


def _statement(dialect: str, new: New, many: list[str]) -> tuple[ReturningInsert[Any], dict[str, Any]]:
    """The insert of a row for each payload, and its parameters.

    One statement whatever their number, the look-up of the names included: each further one is a way to the database
    and back. The payloads travel as one JSON value.
    """
    given, names = _given(new), _names(new)
    statement = _inserting(dialect, tuple(given), new.user is not None)
    return statement, {**given, **names, "payloads": f"[{','.join(many)}]"}


@functools.lru_cache(maxsize=128)
def _inserting(dialect: str, given: tuple[str, ...], has_user: bool) -> ReturningInsert[Any]:
    """The insert with these columns, the same for every payload. Building it takes as long as running it."""
    each, place = _each(dialect)
    columns: dict[str, Any] = {name: bindparam(name, type_=_tasks.c[name].type) for name in given}
    if "unique_until" in columns:
        columns["unique_until"] = clock(bindparam("unique_until"))
    columns = {**_defaults(), **columns, "business_id": _businesses.c.id, "payload": each.c.value}
    query = select(*columns.values()).select_from(_businesses).join(each, true()).where(*_OPEN).order_by(place)
    if has_user:
        columns["user_id"] = _users.c.id
        query = query.add_columns(_users.c.id).join(_users, _users.c.email == bindparam("email")).where(_AT_HOME)
    inserted = insert(_tasks).from_select([*columns], query)
    return inserted.returning(_tasks.c.id, _tasks.c.business_id, _tasks.c.queue)


def _defaults() -> dict[str, Any]:
    """The columns whose default is a value, which SQLAlchemy would add only when it executes the statement itself."""
    defaults: dict[str, Any] = {column.name: column.default for column in _tasks.c}
    return {name: literal(default.arg) for name, default in defaults.items() if default and default.is_scalar}


def _each(dialect: str) -> tuple[TableValuedAlias, ColumnElement[int]]:
    """The elements of the JSON array `payloads`, and what they are ordered by."""
    if dialect == "sqlite":
        each = func.json_each(bindparam("payloads")).table_valued("value", "key")
        return each, each.c.key
    array = cast(bindparam("payloads", type_=String), JSON)
    each = func.json_array_elements(array).table_valued("value", with_ordinality="place").render_derived()
    return each, each.c.place


def _given(new: New) -> dict[str, Any]:
    """The columns of a new task that are not left to the database; `unique_until` as seconds from now."""
    type_ = task_types.get(new.task_type)
    parent = context.current()
    columns = {
        "task_type": type_.name,
        "queue": type_.queue,
        "title": new.title or None,
        "sort_title": sort_title(new.title, type_.name),
        "priority": new.priority,
        "max_attempts": type_.max_attempts,
        "timeout_seconds": new.timeout,
        "unique_key": new.unique_key,
        "unique_until": None if new.unique_for is None else checks.seconds(new.unique_for),
        "ref": new.ref,
        "next_try_at": new.start_at,
        "parent_id": parent.id if parent and parent.business == new.business else None,
        "rerun_of": new.rerun_of,
    }
    return {name: value for name, value in columns.items() if value is not None}


def _names(new: New) -> dict[str, str]:
    """Whose task it is, as a database may be asked; an error for what is no text."""
    names = {"slug": _text(new.business, UnknownBusiness, "business")}
    if new.user is not None:
        names["email"] = _text(new.user, UnknownUser, "user").strip().lower()
    return names


def _text(name: object, error: type[Invalid], field: str) -> str:
    if not isinstance(name, str):
        raise error(field=field)
    return payloads.storable(name)


def _business_id(connection: Connection, slug: object) -> int:
    name = _text(slug, UnknownBusiness, "business")
    found = connection.execute(select(_businesses.c.id).where(*_OPEN), {"slug": name}).scalar()
    if found is None:
        raise UnknownBusiness(field="business")
    return int(found)
