"""How the databases find what claims, settling and the beat ask for, among MANY waiting tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, literal, select, text, update
from sqlalchemy.orm import Session

from jobs import choices, claims, judge, limits, settling
from jobs.beat import Beat
from jobs.choices import Choice
from jobs.judge import Standing, Target
from jobs.models import Attempt, Pause, Task
from jobs.vacuuming import Vacuum
from tenants.clock import clock
from tenants.database import transaction
from tests.factories import Cast
from tests.waiting import until

MANY = 100_000
_COPIED = ["business_id", "user_id", "task_type", "queue", "priority", "state", "payload", "attempts", "max_attempts"]
_COPIED += ["created_at", "next_try_at", "claim_alone"]


def fill(db: Session, cast: Cast, state: str, *, analysed: bool = False) -> None:
    """MANY tasks of Ben in this state before 2,000 pending ones of Cleo; without statistics, as a flood is at first.

    Analysed, as by PostgreSQL's autovacuum a minute later, so many wait that it may think any of the table will do.
    """
    if db.get_bind().dialect.name == "postgresql":
        db.execute(text("ALTER TABLE tasks SET (autovacuum_enabled = false)"))
    row = {"business_id": cast.acme.id, "user_id": cast.ben.user.id, "task_type": "test.note", "queue": "default"}
    db.execute(insert(Task), [{**row, "state": state, "priority": 5} for _ in range(1000)])
    while (db.scalar(text("SELECT count(*) FROM tasks")) or 0) < MANY:
        db.execute(insert(Task).from_select(_COPIED, select(*(getattr(Task, name) for name in _COPIED))))
    db.execute(insert(Task), [{**row, "user_id": cast.cleo.user.id, "task_type": "test.other"} for _ in range(2000)])
    if analysed:
        db.execute(text("ANALYZE tasks"))
    db.commit()


statistics = pytest.mark.parametrize("analysed", [False, True], ids=["new", "analysed"])


@pytest.fixture
def plan(engine: Engine) -> Iterator[Callable[[Callable[[Session], Any]], str]]:
    """The plans of all that an act asks of `tasks`."""
    asked: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if "tasks" in statement and not many and not statement.startswith("EXPLAIN"):
            asked.append((statement, parameters))

    def explain(act: Callable[[Session], Any]) -> str:
        asked.clear()
        with transaction() as session:
            act(session)
        how = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        with engine.connect() as connection:
            plans = [connection.exec_driver_sql(how + statement, given).all() for statement, given in list(asked)]
        return "\n".join(str(row[-1]) for rows in plans for row in rows)

    yield explain
    event.remove(engine, "before_cursor_execute", note)


def claim(session: Session, cast: Cast) -> None:
    judge.let_claims_pass(session, cast.acme.id)
    assert claims.claim(session, cast.acme.id, "default", limit=100, worker="here", lease_seconds=60)


def assert_cheap(plan: str, *indexes: str) -> None:
    sorts = ("Sort Key: tasks", "B-TREE FOR ORDER BY")
    for bad in ("Seq Scan on tasks", "SCAN tasks", *sorts, "ix_tasks_waiting", "ix_tasks_final"):
        assert bad not in plan, plan
    for index in indexes:
        assert index in plan, plan


@statistics
def test_a_claim_walks_the_index_of_what_is_pending(
    db: Session, cast: Cast, plan: Callable[..., str], analysed: bool
) -> None:
    fill(db, cast, "pending", analysed=analysed)
    assert_cheap(plan(lambda session: claim(session, cast)), "ix_tasks_pending")
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="stands"))
    db.commit()
    assert_cheap(plan(lambda session: claim(session, cast)), "ix_tasks_pending")
    assert_cheap(plan(lambda session: claims.any_ready(session, cast.acme.id, "default")), "ix_tasks_pending")
    assert_cheap(plan(lambda session: settling.settle(session, cast.acme.id)), "ix_tasks_pending")
    assert_cheap(plan(lambda _: Beat()._ready()), "ix_tasks_pending")
    assert "Seq Scan on tasks" not in plan(lambda _: Beat()._unsettled())
    limited = plan(lambda session: limits.open_types(session, cast.acme.id, "default", Standing({}, {}, {None: 9})))
    assert "ix_tasks_leased" in limited, limited


@statistics
def test_what_is_due_tomorrow_is_not_read_by_a_claim_today(
    db: Session, cast: Cast, plan: Callable[..., str], analysed: bool
) -> None:
    """Many tasks of Ben stand first in the index; the index itself tells where what is due ends."""
    fill(db, cast, "pending", analysed=analysed)
    db.execute(update(Task).where(Task.priority == 5).values(next_try_at=clock(86_400)))
    db.commit()
    for act in (claim, lambda session, cast: claims.any_ready(session, cast.acme.id, "default")):
        found = plan(lambda session, act=act: act(session, cast))
        assert_cheap(found, "ix_tasks_pending")
        at_one = [line for line in found.splitlines() if "priority=?" in line or "priority = " in line]
        assert at_one, found
        assert all("next_try_at<?" in line or "next_try_at <= " in line for line in at_one), found


@statistics
@pytest.mark.parametrize("of", ["user", "type", "both"])
def test_an_ended_pause_is_unmarked_in_claim_order_by_an_index(
    db: Session, cast: Cast, plan: Callable[..., str], of: str, analysed: bool
) -> None:
    fill(db, cast, "paused", analysed=analysed)
    who, what = cast.ben.user.id if of != "type" else None, "test.note" if of != "user" else None
    target = Target(cast.acme.id, who, what)
    db.add(Pause(**vars(target), reason="over", ended_at=datetime.now(UTC)))
    db.add(Pause(business_id=cast.acme.id, user_id=cast.zoe.user.id, reason="stands"))
    db.commit()
    assert_cheap(plan(lambda session: claim(session, cast)), "ix_tasks_pending", "ix_tasks_paused")
    now = Standing({}, {1: target})
    due = Task.queue == "default"
    assert_cheap(plan(lambda session: settling.is_any_back(session, cast.acme.id, now, due)), "ix_tasks_paused")
    assert_cheap(plan(lambda session: settling.settle(session, cast.acme.id)), "ix_tasks_pending", "ix_tasks_paused")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_flood_into_a_table_that_is_known_as_empty_is_joined_with_nothing_and_soon_known(
    db: Session, engine: Engine, cast: Cast, plan: Callable[..., str]
) -> None:
    """A new installation's: its workers have rehearsed, and autovacuum has looked while the first tasks came."""
    with engine.connect() as connection:
        db.execute(insert(Task), {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default"})
        connection.execute(text("ANALYZE tasks"))
        connection.commit()
    fill(db, cast, "pending")
    found = plan(lambda session: claim(session, cast))
    assert "id = ANY" in found, found
    assert "Join" not in found, found
    vacuum = Vacuum()
    until(lambda: vacuum.look() or db.scalar(text("SELECT reltuples FROM pg_class WHERE relname = 'tasks'")) > MANY)
    assert_cheap(plan(lambda session: claim(session, cast)), "ix_tasks_pending")


def test_setting_aside_joins_nothing_with_all_that_waits_though_statistics_are_old(
    db: Session, cast: Cast, plan: Callable[..., str]
) -> None:
    """Analysed when everything was done, as after a quiet night; then many tasks come."""
    row = {"business_id": cast.acme.id, "user_id": cast.cleo.user.id, "task_type": "test.note", "queue": "default"}
    db.execute(insert(Task), [{**row, "state": "completed"} for _ in range(10_000)])
    db.commit()
    with db.get_bind().connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    fill(db, cast, "pending")
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="stands"))
    db.commit()
    found = plan(lambda session: settling.settle(session, cast.acme.id))
    assert "Semi Join" not in found, found
    assert_cheap(found, "ix_tasks_pending")


def test_looking_for_tasks_in_another_queue_than_their_type_reads_no_history(
    db: Session, cast: Cast, plan: Callable[..., str]
) -> None:
    """And only then does anything write: one UPDATE for each type held SQLite's lock for as long as the history is."""
    fill(db, cast, "completed")
    found = plan(lambda _: Beat().move_to_queues())
    assert len(found.splitlines()) == (4 if db.get_bind().dialect.name == "postgresql" else 2), found
    assert_cheap(found.replace("SCAN tasks USING INDEX", ""), "ix_tasks_pending", "ix_tasks_paused")


def test_counting_before_a_pause_reads_no_history(db: Session, cast: Cast, plan: Callable[..., str]) -> None:
    """PostgreSQL as after its autovacuum; without any statistics it would read the table for what runs."""
    fill(db, cast, "completed")
    if db.get_bind().dialect.name == "postgresql":
        db.execute(text("ANALYZE tasks"))
        db.commit()
    ben = (cast.ben.user.id,)
    for choice in (Choice((cast.ada,), ben), Choice((cast.ada,), (), ("test.note",)), Choice((cast.ada,), ben, ("a",))):
        found = plan(lambda session, choice=choice: choices.impact(session, choice))
        for index in ("ix_tasks_pending", "ix_tasks_paused", "ix_tasks_leased"):
            assert index in found, found
        for bad in ("Seq Scan on tasks", "SCAN tasks", "ix_tasks_user", "ix_tasks_type", "ix_tasks_created"):
            assert bad not in found, found


@statistics
def test_the_attempts_of_one_task_are_found_by_the_index_of_their_numbers(
    db: Session, engine: Engine, cast: Cast, analysed: bool
) -> None:
    """By its page, and by the database itself when the task is forgotten: it deletes them with it."""
    fill(db, cast, "completed")
    of_each = select(Task.business_id, Task.id, literal(1), literal("completed"), Task.created_at)
    db.execute(insert(Attempt).from_select(["business_id", "task_id", "number", "outcome", "ended_at"], of_each))
    if analysed:
        db.execute(text("ANALYZE attempts"))
    db.commit()
    is_postgresql = engine.dialect.name == "postgresql"
    how, index = ("EXPLAIN ", "uq_attempts_task_id") if is_postgresql else ("EXPLAIN QUERY PLAN ", "(task_id=?")
    for act in ("SELECT * FROM attempts", "DELETE FROM attempts"):
        where = f" WHERE business_id = {cast.acme.id} AND task_id = 12345"
        found = "\n".join(str(row[-1]) for row in db.execute(text(how + act + where)))
        assert index in found, found
        assert "Seq Scan" not in found, found
