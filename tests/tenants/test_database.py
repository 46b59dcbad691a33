"""What the database layer promises: acts after commits, reads that hold no lock."""

from __future__ import annotations

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jobs import indexes as _indexes  # noqa: F401 - they are a part of the models
from jobs.models import Task
from tenants.database import Base, migrate, on_commit, transaction
from tenants.models import Business
from tests.factories import Cast


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(engine: Engine, postgresql: Engine) -> None:
    def process() -> int | None:
        with transaction(read_only=True) as session:
            return session.scalar(text("SELECT pg_backend_pid()"))

    first = process()
    assert process() == first, "the pool keeps it"
    with postgresql.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    assert process() not in (None, first)


def test_an_act_follows_the_outermost_commit_once(db: Session) -> None:
    done: list[str] = []
    for _ in range(2):
        on_commit(db, "act", lambda: done.append("act"))
    with db.begin_nested():
        db.execute(select(1))
    assert done == []
    db.commit()
    db.commit()
    assert done == ["act"]


def test_a_rollback_forgets_acts_and_a_rolled_back_savepoint_does_not(db: Session) -> None:
    done: list[str] = []
    on_commit(db, "outer", lambda: done.append("outer"))
    with db.begin_nested() as savepoint:
        savepoint.rollback()
    db.commit()
    on_commit(db, "lost", lambda: done.append("lost"))
    db.execute(select(1))
    db.rollback()
    db.commit()
    assert done == ["outer"]


def test_a_session_that_is_closed_without_a_commit_forgets_its_acts(db: Session) -> None:
    """Its next commit is another transaction: it removed the file of an export whose task was there still."""
    done: list[str] = []
    db.execute(select(1))
    on_commit(db, "lost", lambda: done.append("lost"))
    db.close()
    db.execute(select(1))
    db.commit()
    assert done == []


def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    # SQLite's indexes with an expression cannot be read back, so they look new.
    same = {"ix_tasks_pending", "ix_tasks_paused"} if engine.dialect.name == "sqlite" else set()
    assert [one for one in differences if getattr(one[1], "name", None) not in same] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_table_gives_the_id_of_a_deleted_row_again(engine: Engine) -> None:
    """SQLite would give the last row's id, and what belongs to it elsewhere, to the next row."""
    with engine.connect() as connection:
        made = dict(connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")).tuples().all())
    without = {name for name, sql in made.items() if "AUTOINCREMENT" not in sql and not name.startswith("sqlite_")}
    assert without == {"alembic_version", "limits"}, "nothing names a limit by its id"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_new_database_of_sqlite_has_small_pages_and_a_write_ahead_log(engine: Engine) -> None:
    asked = ("page_size", "journal_mode", "wal_autocheckpoint")
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
    assert found == [2048, "wal", 4000]


def test_migrating_twice_changes_nothing(engine: Engine, cast: Cast) -> None:
    migrate(engine)
    with transaction(read_only=True) as session:
        assert session.scalar(select(func.count()).select_from(Business)) == 3


def test_a_reading_transaction_refuses_to_write_on_postgresql_and_takes_no_lock_on_sqlite(
    engine: Engine, cast: Cast
) -> None:
    rename = update(Business).where(Business.id == cast.acme.id).values(name="Renamed")
    if engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="read-only"), transaction(read_only=True) as session:
            session.execute(rename)
        return
    with transaction() as writer:
        writer.execute(rename)
        with transaction(read_only=True) as reader:
            assert reader.scalar(select(Business.name).where(Business.id == cast.acme.id)) == "Acme"


def test_readers_that_write_later_lose_no_update(engine: Engine, cast: Cast) -> None:
    """Four threads read a number and write it back, one higher: SQLite's deferred transactions lose most of them."""
    rounds, threads = 25, 4

    def count() -> None:
        for _ in range(rounds):
            with transaction() as session:
                query = select(Business).where(Business.id == cast.acme.id).with_for_update()
                business = session.scalars(query).one()
                business.name = str(int(business.name) + 1)

    with transaction() as session:
        session.execute(update(Business).where(Business.id == cast.acme.id).values(name="0"))
    started = [threading.Thread(target=count) for _ in range(threads)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    with transaction(read_only=True) as session:
        assert session.scalar(select(Business.name).where(Business.id == cast.acme.id)) == str(rounds * threads)


def test_a_business_has_its_own_rows_only(db: Session, cast: Cast) -> None:
    """The database itself refuses an attempt that names another business than its task's."""
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default"}
    task = Task(**row)
    db.add(task)
    db.commit()
    with pytest.raises(DBAPIError):
        db.execute(
            text(
                "INSERT INTO attempts (business_id, task_id, number, outcome, ended_at)"
                " VALUES (:business, :task, 1, 'completed', '2026-01-01 00:00:00')"
            ),
            {"business": cast.initech.id, "task": task.id},
        )
    db.rollback()


def test_an_act_that_fails_fails_nobody_and_stops_no_other(db: Session) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("after the fact")

    on_commit(db, "first", fail)
    on_commit(db, "second", lambda: done.append("second"))
    db.execute(select(1))
    db.commit()
    assert done == ["second"]


def test_the_id_of_a_deleted_row_is_never_given_again(db: Session, cast: Cast) -> None:
    ids = []
    for _ in range(2):
        task = Task(business_id=cast.acme.id, task_type="test.note", queue="default")
        db.add(task)
        db.commit()
        ids.append(task.id)
        db.delete(task)
        db.commit()
    assert ids[0] < ids[1]
