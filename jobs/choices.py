"""What somebody chose to pause at once: users, task types or both together, in one business or in several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from jobs import pauses, task_types, unfinished
from jobs.judge import Target
from jobs.models import Pause
from jobs.schedule_models import Schedule
from tenants.errors import Invalid, NotFound
from tenants.models import User
from tenants.permissions import Actor, May

ENOUGH = 10_000  # tasks counted at most: the count says "10,000+" then
MOST = 100  # pauses made at once


class TooMany(Invalid):
    """That makes more than 100 pauses. Choose fewer at once."""


class UnknownThere(Invalid):
    """Somebody or something that was chosen is unknown in another business."""


@dataclass(frozen=True)
class Choice:
    """Whom or what to pause. With users and types, each of these users is paused with each of these types.

    `actors` is who asks, in each business that is meant, the one they are in first. `everywhere` means the whole
    installation, for types alone.
    """

    actors: tuple[Actor, ...]
    users: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    everywhere: bool = False

    def __len__(self) -> int:
        """How many pauses it makes."""
        return max(1, len(self.users)) * max(1, len(self.types)) * (1 if self.everywhere else len(self.actors))

    @cached_property
    def home(self) -> Actor:
        """Who asks, in the business that they are in."""
        return self.actors[0]

    def targets(self, business_id: int | None) -> Iterator[Target]:
        """Each pause that it makes in this business, or in the whole installation."""
        for user_id, name in itertools.product(self.users or (None,), self.types or (None,)):
            yield Target(business_id, user_id, name)

    def places(self) -> list[tuple[Actor, int | None]]:
        """Where pauses are made and as whom; by id, so that two such acts wait for each other in one order."""
        if self.everywhere:
            return [(self.home, None)]
        return [(one, one.business.id) for one in sorted(self.actors, key=lambda one: one.business.id)]


@dataclass(frozen=True)
class Impact:
    """What a pause would touch: tasks that wait or run, the users these belong to, schedules that make more."""

    waiting: int
    running: int
    users: int
    schedules: int

    @property
    def is_capped(self) -> bool:
        """Whether more wait than were counted; the users are those of the counted ones then."""
        return self.waiting >= ENOUGH

    def grown_since(self, seen: Impact) -> list[str]:
        """What is more than was seen, by name. A waiting task that has begun meanwhile is not."""
        grown = [one.name for one in fields(self) if getattr(self, one.name) > getattr(seen, one.name)]
        if self.waiting + self.running <= seen.waiting + seen.running and "running" in grown:
            grown.remove("running")
        return [one for one in grown if not (self.is_capped and one == "users")]


def impact(session: Session, choice: Choice) -> Impact:
    """What these pauses together would touch at this moment; each task counts once. Nothing is changed."""
    _require(choice)
    where, inside = list(_meant(choice)), None if choice.everywhere else [one.business.id for one in choice.actors]
    waiting = unfinished.waiting(inside, *where, columns=[unfinished.USER]).limit(ENOUGH).cte("waiting")
    running = unfinished.running(inside, *where, columns=[unfinished.USER]).cte("running")
    users = select(waiting.c.user_id).union(select(running.c.user_id)).subquery()
    made = select(func.count(Schedule.id)).where(Schedule.task_type.in_(choice.types))
    made = made if inside is None else made.where(Schedule.business_id.in_(inside))
    row = session.execute(
        select(
            select(func.count()).select_from(waiting).scalar_subquery(),
            select(func.count()).select_from(running).scalar_subquery(),
            select(func.count()).where(users.c.user_id > 0).scalar_subquery(),
            made.scalar_subquery(),
        )
    ).one()
    return Impact(row[0], row[1], row[2], 0 if choice.users else row[3])  # a schedule's tasks have no user


def pause(
    session: Session, choice: Choice, reason: str, until: datetime | None = None
) -> tuple[Sequence[Pause], Sequence[Pause]]:
    """Make all of these pauses or none; answer the new ones, and those that stood already.

    NotFound when somebody is unknown in the business where the actor is, UnknownThere in another one.
    """
    _require(choice)
    if len(choice) > MOST:
        raise TooMany
    _check(session, choice)
    new: list[Pause] = []
    standing: list[Pause] = []
    for actor, business_id in choice.places():
        for target in choice.targets(business_id):
            one, is_new = pauses.begin(session, actor, target, reason, until)
            (new if is_new else standing).append(one)
    return new, standing


def names(session: Session, choice: Choice) -> tuple[list[str], list[str]]:
    """What people call the users and the types that were chosen, in order."""
    query = select(User.name).where(User.id.in_(choice.users)).order_by(User.name, User.id)
    return list(session.scalars(query)), sorted(task_types.title_of(one) for one in choice.types)


def _require(choice: Choice) -> None:
    for actor, business_id in choice.places():
        actor.require(May.PAUSE_SYSTEM if business_id is None else May.PAUSE, business_id)


def _check(session: Session, choice: Choice) -> None:
    """Whoever is unknown at home is a foreign one; elsewhere one may not know."""
    for target in choice.targets(None if choice.everywhere else choice.home.business.id):
        pauses.check(session, target)
    unknown = []
    for actor in () if choice.everywhere else choice.actors[1:]:
        for user_id in choice.users or (None,):
            if not _is_known(session, Target(actor.business.id, user_id, next(iter(choice.types), None))):
                who = session.get(User, user_id) if user_id else None
                unknown.append(f"{who.name if who else 'This task type'} is unknown in {actor.business.name}.")
    if unknown:
        raise UnknownThere(" ".join(unknown), field="also")


def _is_known(session: Session, target: Target) -> bool:
    try:
        pauses.check(session, target)
    except (NotFound, Invalid):
        return False
    return True


def _meant(choice: Choice) -> Iterator[ColumnElement[bool]]:
    if choice.users:
        yield unfinished.USER.in_(choice.users)
    if choice.types:
        yield unfinished.TASK_TYPE.in_(choice.types)
