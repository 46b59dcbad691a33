"""Who and what can be paused in a business, and what each choice would hold back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from jobs import task_types, unfinished
from jobs.models import Pause, Task
from jobs.pauses import in_force
from jobs.payloads import storable
from tenants.models import Member, User
from tenants.permissions import Actor, May

LIMIT = 20  # candidates shown at once; a search narrows them


@dataclass(frozen=True)
class Candidate:
    """A user or task type that may be paused. `key` is the user's id or the type's name.

    `partly` are the types of the user, or the users of the type, that are paused already, as people call them.
    """

    key: str
    name: str
    detail: str
    waiting: int
    running: int
    pause: Pause | None
    ticked: bool
    partly: Sequence[str] = ()


def users(session: Session, by: Actor, part: str, ticked: Collection[int] = ()) -> Sequence[Candidate]:
    """The users of the business with `part` in name or e-mail, ticked ones first and always."""
    by.require(May.PAUSE)
    part = part.strip().lower()
    known = or_(
        exists().where(Member.user_id == User.id, Member.business_id == by.business.id),
        exists().where(Task.user_id == User.id, Task.business_id == by.business.id),
    )
    like = or_(func.lower(User.name).contains(part, autoescape=True), User.email.contains(part, autoescape=True))
    is_ticked = User.id.in_(ticked)
    found = session.scalars(
        select(User)
        .where(known, or_(like, is_ticked))
        .order_by(is_ticked.desc(), User.name, User.id)
        .limit(LIMIT + len(ticked))
    ).all()
    counts = _counts(session, by, unfinished.USER, [user.id for user in found])
    standing = in_force(session, by)
    paused = {p.user_id: p for p in standing if p.user_id and not p.task_type}
    return [
        Candidate(
            str(user.id),
            user.name,
            user.email,
            *counts.get(user.id, (0, 0)),
            paused.get(user.id),
            user.id in ticked,
            sorted({task_types.title_of(p.task_type) for p in standing if p.user_id == user.id and p.task_type}),
        )
        for user in found
    ]


def find_user(session: Session, by: Actor, user_id: int | None) -> User | None:
    """A member of the business, or somebody who has tasks there."""
    return None if user_id is None else _known(session, by, User.id == user_id)


def find_user_by_email(session: Session, by: Actor, email: str) -> User | None:
    """The same by e-mail address."""
    return _known(session, by, User.email == storable(email).strip().lower())


def _known(session: Session, by: Actor, who: ColumnElement[bool]) -> User | None:
    by.require(May.SEE_ALL)
    known = or_(
        exists().where(Member.user_id == User.id, Member.business_id == by.business.id),
        exists().where(Task.user_id == User.id, Task.business_id == by.business.id),
    )
    return session.scalar(select(User).where(who, known))


def types(session: Session, by: Actor, part: str, ticked: Collection[str] = ()) -> Sequence[Candidate]:
    """The registered task types with `part` in title or name, ticked ones first and always."""
    by.require(May.PAUSE)
    chosen = [one for one in task_types.all_types() if one.name in ticked]
    found = chosen + [one for one in task_types.matching(part.strip()) if one.name not in ticked][:LIMIT]
    counts = _counts(session, by, unfinished.TASK_TYPE, [one.name for one in found])
    standing = in_force(session, by)
    paused = {p.task_type: p for p in standing if p.task_type and not p.user_id}
    return [
        Candidate(
            one.name,
            one.title,
            one.name,
            *counts.get(one.name, (0, 0)),
            paused.get(one.name),
            one.name in ticked,
            sorted({p.user.name for p in standing if p.task_type == one.name and p.user}),
        )
        for one in found
    ]


def _counts(session: Session, by: Actor, column: Any, keys: Sequence[Any]) -> dict[Any, tuple[int, int]]:
    """Waiting and running tasks of each of these users or types."""
    numbers = []
    for tasks in (unfinished.waiting, unfinished.running):
        found = tasks([by.business.id], column.in_(keys), columns=[column.label("key")]).subquery()
        numbers.append(dict(session.execute(select(found.c.key, func.count()).group_by(found.c.key)).tuples().all()))
    waiting, running = numbers
    return {key: (waiting.get(key, 0), running.get(key, 0)) for key in {*waiting, *running}}
