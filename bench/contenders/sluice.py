"""Sluice: 2 workers and a scheduler. Every task and attempt is kept in SQL; a lost worker's tasks go back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sqlalchemy import event, func, insert, select

from jobs import queue, submit_many, task_types
from jobs import submit as submit_task
from jobs.models import Attempt, Task
from jobs.states import State
from tenants import accounts, businesses, members
from tenants.database import bound, connect, migrate, transaction
from tenants.models import Business, Role

BUSINESSES = [f"b{number}" for number in range(4)]
EMAIL, PASSWORD = "admin@example.com", "nobody would guess this one"
_CHUNK = 10_000


def ready() -> None:
    connect(os.environ["DATABASE_URL"])
    queue.connect(os.environ["REDIS_URL"])
    task_types.load(("bench.task_types",))


def prepare() -> None:
    migrate(bound())
    with transaction() as session:
        for slug in BUSINESSES:
            businesses.create(session, slug, slug)


def submit(number: int) -> None:
    """One task, committed; a thread wakes the workers."""
    submit_task("bench.nothing", business=BUSINESSES[0], payload={"number": number})


def bare(count: int) -> float:
    """The INSERT of a submit with its commit, through the driver alone; the seconds they took. Nobody is woken."""
    asked: list[tuple[str, Any]] = []
    engine = bound()
    event.listen(engine, "before_cursor_execute", lambda *about: asked.append(about[2:4]))
    with transaction() as session:
        submit_task("bench.nothing", business=BUSINESSES[0], payload={"number": 0}, session=session)
    [(statement, values)] = [one for one in asked if one[0].startswith("INSERT")]
    driver: Any = engine.raw_connection().driver_connection
    if engine.dialect.name == "postgresql":  # our connections to SQLite never begin by themselves
        driver.autocommit = True
    began = time.perf_counter()
    for _ in range(count):
        driver.execute(statement, values).fetchall()
    return time.perf_counter() - began


def flush() -> None:
    """Wait until the wakes are sent."""
    queue.flush(10.0)


def submit_all(count: int, first: int) -> None:
    """Tasks of four businesses, in one transaction, and the wakes."""
    with transaction() as session:
        for place, slug in enumerate(BUSINESSES):
            numbers = range(first + place, first + count, len(BUSINESSES))
            submit_many("bench.nothing", [{"number": one} for one in numbers], business=slug, session=session)
    flush()


def add_admin() -> int:
    """Somebody who runs the first business and knows PASSWORD; the id of the business."""
    with transaction() as session:
        user = accounts.register(session, EMAIL, "Admin", PASSWORD)
        business = businesses.find(session, BUSINESSES[0])
        assert business
        members.add(session, business, user, Role.ADMIN)
        return business.id


def add(tasks: Any, task_type: str = "bench.nothing", user_id: int | None = None) -> None:
    """Insert tasks, given as (business id, number), in one transaction."""
    same = {"task_type": task_type, "queue": "bench", "user_id": user_id}
    insert_tasks({**same, "business_id": business_id, "payload": {"number": number}} for business_id, number in tasks)


def insert_tasks(rows: Iterator[dict[str, Any]]) -> None:
    """Insert tasks, all with the same columns, in one transaction."""
    with transaction() as session:
        while chunk := list(islice(rows, _CHUNK)):
            session.execute(insert(Task), chunk)


def wake(ids: list[int]) -> None:
    """Queue a turn for each of these businesses."""
    for business_id in ids:
        queue.wake_now(business_id, "bench")


def business_ids() -> list[int]:
    with transaction(read_only=True) as session:
        return list(session.scalars(select(Business.id).order_by(Business.id)))


def waiting() -> int:
    """How many tasks are stored and wait."""
    with transaction(read_only=True) as session:
        return session.scalar(select(func.count()).where(Task.state == State.PENDING)) or 0


def unfinished(count: int) -> str:
    """Empty when all `count` tasks are completed, with one attempt each."""
    with transaction(read_only=True) as session:
        found = session.execute(select(Task.state, func.count().label("number")).group_by(Task.state))
        states = {one.state: one.number for one in found}
        rows = session.scalar(select(func.count()).select_from(Attempt))
        once = session.scalar(select(func.count(Attempt.task_id.distinct())))
    good = states == {"completed": count} and rows == once == count
    return "" if good else f"tasks are {states}, with {rows} attempts of {once} tasks"
