"""A statement that the driver sends and the database commits: as safe as a transaction, and its errors are the same."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, String, bindparam, insert, select, text, type_coerce, update
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from tenants import direct
from tenants.database import connect, transaction
from tenants.models import Business, User
from tests.factories import Cast
from tests.locks import is_locked
from tests.waiting import until

_RENAME = (
    update(Business)
    .where(Business.id == bindparam("business"))
    .values(name=bindparam("to", type_=Business.name.type))
    .returning(Business.name)
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_waits_at_the_turnstile_and_is_synced_whatever_came_before(engine: Engine, cast: Cast) -> None:
    door = Path(f"{engine.url.database}.turnstile")
    with transaction(durable=False) as session:
        session.execute(select(Business))
    lent = engine.raw_connection()
    driver: Any = lent.driver_connection
    lent.close()
    seen: list[bool] = []
    driver.set_trace_callback(lambda said: seen.append(is_locked(door)) if said.startswith("UPDATE") else None)
    rename(cast, "Synced")
    assert seen == [True]
    assert not is_locked(door)
    assert driver.execute("PRAGMA synchronous").fetchall() == [(2,)], "FULL"


def test_one_that_fails_writes_nothing_and_the_next_one_works(engine: Engine, cast: Cast) -> None:
    with pytest.raises(IntegrityError) as refused:
        direct.write(_RENAME.values(id=None), {"business": cast.acme.id, "to": "Gone"})
    assert "parameters hidden" in str(refused.value)
    assert rename(cast, "Renamed") == [("Renamed",)]
    assert name(cast) == "Renamed"


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_after_it_can_be_rolled_back_as_ever(engine: Engine, cast: Cast, fails: bool) -> None:
    rename(cast, "Renamed")
    if fails:
        with pytest.raises(IntegrityError):
            direct.write(_RENAME.values(id=None), {"business": cast.acme.id, "to": "Gone"})
    with transaction() as session:
        session.execute(_RENAME, {"business": cast.acme.id, "to": "Nobody's"})
        session.rollback()
    assert name(cast) == "Renamed"


def test_values_are_kept_as_a_session_keeps_them(db: Session, cast: Cast) -> None:
    at = datetime(2026, 1, 1, 12, 0, tzinfo=timezone(timedelta(hours=5)))
    given = bindparam("at", type_=Business.archived_at.type)
    replaced = bindparam("at", at - timedelta(days=1), type_=Business.archived_at.type)
    new = Business(slug="new", name="New")
    db.add(new)
    db.commit()
    for business, to in ((cast.acme, at), (cast.globex, given), (new, replaced)):
        direct.write(_RENAME.values(archived_at=to), {"business": business.id, "to": "Closed", "at": at})
    db.execute(_RENAME.values(archived_at=at), {"business": cast.initech.id, "to": "Closed"})
    assert db.scalars(select(Business.archived_at).where(Business.name == "Closed")).all() == [at] * 4
    texts = db.scalars(select(type_coerce(Business.archived_at, String)).where(Business.name == "Closed")).all()
    assert len(set(texts)) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_one_whose_connection_is_lost_tells_so_and_the_next_one_has_another(
    engine: Engine, postgresql: Engine, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[BaseException] = []

    def lose() -> None:
        try:
            rename(cast, "Lost")
        except OperationalError as error:
            told.append(error)

    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name"
    )
    with transaction() as session, postgresql.connect() as other:
        session.execute(_RENAME, {"business": cast.acme.id, "to": "Held"})
        loser = threading.Thread(target=lose, daemon=True)
        loser.start()
        until(lambda: other.execute(end, {"name": engine.url.database}).all())
        loser.join()
    assert told
    assert not caplog.records, "the pool is not given a connection that it cannot reset"
    assert name(cast) == "Held"
    assert rename(cast, "Renamed") == [("Renamed",)]


def test_what_only_sqlalchemy_fills_in_is_refused(engine: Engine, cast: Cast) -> None:
    with pytest.raises(ValueError, match="a default"):
        direct.write(insert(User).values(email="new@example.com", name="New", password_hash="").returning(User.id), {})
    with pytest.raises(ValueError, match="a list"):
        direct.write(_RENAME.where(Business.slug.in_(["acme"])), {"business": cast.acme.id, "to": "Renamed"})


def test_one_that_is_interrupted_gives_no_busy_connection_back(engine: Engine, cast: Cast) -> None:
    """An interrupted handler may keep the error for as long as it cleans up."""
    with engine.connect() as holder:
        holder.execute(_RENAME, {"business": cast.acme.id, "to": "Held"})
        threading.Timer(0.5, holder.connection.driver_connection.rollback).start()  # type: ignore[union-attr]
        with interrupted_after(0.2), pytest.raises(Enough) as kept:
            rename(cast, "Late")
        rename(cast, "Renamed")
    with transaction() as session:
        session.execute(_RENAME, {"business": cast.acme.id, "to": "Again"})
    assert name(cast) == "Again"
    assert kept.traceback


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after"])
def test_one_that_is_interrupted_while_it_sets_autocommit_gives_nobody_a_connection_without_transactions(
    engine: Engine, cast: Cast, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real = psycopg.Connection.set_autocommit

    def interrupted(connection: psycopg.Connection[Any], value: bool) -> None:
        if value or when == "after":
            real(connection, value)
        if value == (when == "after"):
            raise Enough

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "set_autocommit", interrupted)
        with contextlib.suppress(Enough):
            rename(cast, "Renamed")
    before = name(cast)
    with transaction() as session:
        session.execute(_RENAME, {"business": cast.acme.id, "to": "Nobody's"})
        session.rollback()
    assert name(cast) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_pragma_that_fails_is_an_error_of_sqlalchemys_and_is_set_again(engine: Engine, cast: Cast) -> None:
    with contextlib.closing(engine.raw_connection()) as lent:
        driver: Any = lent.driver_connection
    driver.set_authorizer(lambda _, pragma, *__: sqlite3.SQLITE_DENY if pragma == "synchronous" else sqlite3.SQLITE_OK)
    with pytest.raises(DatabaseError), transaction(durable=False, patience=0.2):
        pass
    driver.set_authorizer(None)
    rename(cast, "Renamed")
    with contextlib.closing(engine.raw_connection()) as lent:
        assert [lent.execute(f"PRAGMA {one}").fetchone()[0] for one in ("busy_timeout", "synchronous")] == [10_000, 2]


def test_no_database_is_an_error_of_sqlalchemys(tmp_path: Path, engine: Engine, cast: Cast) -> None:
    connect(f"sqlite:///{tmp_path}/nowhere/sluice.db")
    with pytest.raises(OperationalError):
        rename(cast, "Nowhere")


class Enough(Exception):
    """What a handler's time limit raises, in the middle of anything."""


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Enough

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def rename(cast: Cast, to: str) -> Sequence[Any]:
    return direct.write(_RENAME, {"business": cast.acme.id, "to": to})


def name(cast: Cast) -> str | None:
    with transaction(read_only=True) as session:
        return session.scalar(select(Business.name).where(Business.id == cast.acme.id))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_connection_that_stays_lent_is_in_nobodys_way_and_is_closed_with_the_others(
    engine: Engine, cast: Cast
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(rename, cast, f"Name {number}") for number in range(100)]:
            done.result()
    assert engine.pool.checkedout() in (1, 2)  # type: ignore[attr-defined]
    with transaction() as session:
        session.execute(_RENAME, {"business": cast.acme.id, "to": "Somebody's"})
    with contextlib.closing(sqlite3.connect(str(engine.url.database))) as other:
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy, "it reads an old state still"
    engine.dispose()
    open_files = {os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()}
    assert [file for file in open_files if str(engine.url.database) in file] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_fork_takes_no_connection_along(engine: Engine, cast: Cast) -> None:
    with contextlib.closing(engine.raw_connection()) as lent:
        driver: Any = lent.driver_connection
    said: list[str] = []
    driver.set_trace_callback(said.append)
    rename(cast, "The parent's")
    assert said
    said.clear()
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            rename(cast, "The child's")
            os._exit(len(said))
        os._exit(99)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child wrote by its parent's connection"
    assert name(cast) == "The child's"
    assert rename(cast, "The parent's again") == [("The parent's again",)]
