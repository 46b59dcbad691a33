"""Submitting: one task or many, checked, as rows in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

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
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from jobs import checks, context, payloads, queue, task_types, unique
from jobs.checks import New
from jobs.models import Task, sort_title
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import Invalid
from tenants.models import Business, Member, User
from tenants.permissions import Actor, May

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
    ref: str | None = None,
    session: Session | None = None,
) -> list[int]:
    """Add a task of one type for each payload, all or none, and answer their ids in the same order.

    Everything but the payload is the same for all. The errors are those of `submit`, for the first that is wrong.
    """
    many = list(payloads_)
    new = New(task_type, business, user, {}, title, priority, start_at=start_at, timeout=timeout, ref=ref)
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
    row, connection = _row(session, new), session.connection()
    if new.unique_key is not None:
        unique.keep(session, row["business_id"], new.unique_key)
    statement = _INSERT
    if new.unique_for is not None:
        statement = statement.values(unique_until=clock(checks.seconds(new.unique_for)))
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
    checks.check_new(type_, new)
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
        "ref": new.ref,
        **({"next_try_at": new.start_at} if new.start_at else {}),
        **_links(new),
    }


def _links(new: New) -> dict[str, int]:
    """The task that submits this one, in the same business; the one that it runs again."""
    parent = context.current()
    of = {"parent_id": parent.id} if parent and parent.business == new.business else {}
    return of | ({"rerun_of": new.rerun_of} if new.rerun_of else {})


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
