"""Filling: a database as after a busy month, of any size, to try out and to measure lists with.

The same numbers and seed give the same tasks. Everything is drawn from a task's number by arithmetic that both
databases do alike, so that they write a million rows by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from jobs import grouping
from jobs.models import Pause, Task
from jobs.sowing import Soil, sow_attempts, sow_tasks
from tenants import businesses, demo
from tenants.errors import Conflict
from tenants.models import Business, Member, User

_CHUNK = 50_000
_FIRST = ("Ada Ben Cleo Dov Eli Fay Gus Hana Ines Jon Kofi Lena Mona Nils Olga Pia Quin Rosa Sven Tara Umar Vera "
          "Wim Xena Yara Zoe Åsa Björn Çelik Dörte").split()  # fmt: skip
_LAST = ("Abt Berg Cole Diaz Egan Frey Gold Hart Ito Jung Klein Lund Marsh Nash Okafor Park Quist Roth Sand Toth "
         "Unger Vogt Winter Xu Young Zeller Öberg Ångström").split()  # fmt: skip
_NEW_TABLES = ("tasks", "attempts", "failures", "users", "members", "businesses")


class NotEmpty(Conflict):
    """There are tasks in this database already; say --yes to add these to them."""


@dataclass(frozen=True)
class Plan:
    """How much of what. More than half of the tasks are the first business's, a fortieth the second's."""

    tasks: int
    businesses: int = 20
    users: int = 10_000
    seed: int = 1


def fill(session: Session, plan: Plan, *, among_others: bool = False) -> None:
    """Add these tasks with users, businesses, attempts and two pauses. The demo cast runs the first businesses."""
    if not among_others and session.scalar(select(Task.id).limit(1)) is not None:
        raise NotEmpty
    demo.fill(session)
    soil = Soil(_businesses(session, plan.businesses), _people(session, plan), plan)
    first = (session.scalar(select(func.max(Task.id))) or 0) + 1
    for start in range(0, plan.tasks, _CHUNK):
        sow_tasks(session, soil, start, min(start + _CHUNK, plan.tasks))
    sow_attempts(session, first)
    grouping.group_all(session)
    _pause(session, soil)
    for name in _NEW_TABLES:  # so that plans are right at once, not when the database gets round to it
        session.execute(text(f"ANALYZE {name}"))


def _businesses(session: Session, count: int) -> list[int]:
    known = list(session.scalars(select(Business.id).order_by(Business.id).limit(count)))
    for number in range(len(known), count):
        slug = f"business-{number:03}"
        known.append((businesses.find(session, slug) or businesses.create(session, slug, f"Business {number:03}")).id)
    return known


def _people(session: Session, plan: Plan) -> list[int]:
    """New users, who cannot log in. Each is a member of one business, more of them of larger ones."""
    taken = session.scalar(select(func.count()).select_from(User)) or 0
    rows: list[dict[str, Any]] = []
    for number in range(taken, taken + plan.users):
        first, last = _FIRST[number % len(_FIRST)], _LAST[number // len(_FIRST) % len(_LAST)]
        name = f"{first} {last}" + (f" {number // 840}" if number >= 840 else "")
        email = f"{first}.{number}@example.com".lower()
        rows.append({"email": email, "name": name, "sort_name": name.lower(), "password_hash": "!"})
    return list(session.scalars(insert(User).returning(User.id, sort_by_parameter_order=True), rows))


def _pause(session: Session, soil: Soil) -> None:
    """The busiest user of the first business, and one type in the second."""
    big, second = soil.businesses[0], soil.businesses[min(1, len(soil.businesses) - 1)]
    session.add(Pause(business_id=big, user_id=soil.paused_user, reason="floods the queue"))
    session.add(Pause(business_id=second, task_type="tasks.export", reason="the disk is full"))
    shares = [(business, list(users)) for business, users in soil.staff()]
    rows = [
        {"business_id": business, "user_id": user, "role": "member"} for business, users in shares for user in users
    ]
    session.execute(insert(Member), rows)
