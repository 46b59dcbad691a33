"""Acts of Sluice alone: a business in which one user floods the queue and is paused, and twenty businesses at once."""

from __future__ import annotations

import itertools
import time

from sqlalchemy import Executable, exists, select, text
from sqlalchemy.orm import Session

from bench import witness
from bench.contenders import sluice
from jobs import pauses, vacuuming
from jobs.judge import Target
from jobs.models import Task
from jobs.states import State
from tenants import businesses, members
from tenants.database import transaction
from tenants.models import Role, User
from tenants.permissions import Actor

_BUSINESS, _ELSEWHERE = sluice.BUSINESSES[:2]
_VACUUM_SECONDS = 30
_NOT_VACUUMED = text("SELECT vacuum_count = 0 FROM pg_stat_user_tables WHERE relname = 'tasks'")
ready = sluice.ready


def prepare_pause() -> dict[str, int]:
    """Ada, who runs the business, and Ben, who floods it; their ids, that of the business and that of another."""
    with transaction() as session:
        business, elsewhere = (businesses.find(session, slug) for slug in (_BUSINESS, _ELSEWHERE))
        assert business
        assert elsewhere
        people = {name: User(email=f"{name}@example.com", name=name, password_hash="-") for name in ("ada", "ben")}  # noqa: S106
        session.add_all(people.values())
        session.flush()
        members.add(session, business, people["ada"], Role.ADMIN)
        members.add(session, business, people["ben"])
        ids = {name: user.id for name, user in people.items()}
        return {"business": business.id, "elsewhere": elsewhere.id, **ids}


def flood(business: int, user: int, first: int, count: int) -> None:
    """So many tasks of 10 ms, of one user (0: of nobody), and a wake."""
    numbers = range(first, first + count)
    sluice.add(((business, number) for number in numbers), "bench.short", user or None)
    sluice.wake([business])


def healthy(user: int, first: int, count: int, *ids: int) -> None:
    """So many tasks of no length, of one user, in each of these businesses, and the wakes."""
    numbers = itertools.count(first)
    sluice.add(((one, next(numbers)) for one in ids for _ in range(count)), user_id=user)
    sluice.wake([*ids])


def pause(business: int, ada: int, ben: int) -> tuple[int, int, int]:
    """Ada pauses Ben as a page would: the id of the pause, when it was called, when it had answered."""
    called = witness.now()
    with transaction() as session:
        found = pauses.pause(session, _actor(session, ada), Target(business, ben), "too loud")
        pause_id = found.id
    return pause_id, called, witness.now()


def resume(pause_id: int, ada: int) -> tuple[int, int]:
    """Ada ends the pause: when it was called, and when it had answered."""
    called = witness.now()
    with transaction() as session:
        pauses.resume(session, _actor(session, ada), pause_id)
    return called, witness.now()


def wait_until_settled(user: int, count: int) -> None:
    """Until none of a user's tasks is pending any more, and PostgreSQL is rid of what so many moves left behind."""
    pending = select(exists().where(Task.stands(State.PENDING), Task.user_id == user))
    while _is_any(pending):
        time.sleep(0.1)
    ends_at = time.monotonic() + _VACUUM_SECONDS  # autovacuum may be at it instead
    while count >= vacuuming.MANY and _is_any(_NOT_VACUUMED) and time.monotonic() < ends_at:
        time.sleep(0.1)


def _is_any(query: Executable) -> bool:
    with transaction(read_only=True) as session:
        if query is _NOT_VACUUMED and session.get_bind().dialect.name != "postgresql":
            return False
        return bool(session.scalar(query))


def prepare_crowd(count: int) -> list[int]:
    """The ids of so many new businesses."""
    with transaction() as session:
        return [businesses.create(session, f"crowd{number}", f"Crowd {number}").id for number in range(count)]


def crowd(first: int, each: int, *ids: int) -> int:
    """So many tasks of 10 ms of each of these businesses: when the first was submitted."""
    began = witness.now()
    for place, business_id in enumerate(ids):
        flood(business_id, 0, first + place * each, each)
    return began


def _actor(session: Session, user_id: int) -> Actor:
    user = session.get(User, user_id)
    assert user
    return members.enter(session, user, _BUSINESS)
