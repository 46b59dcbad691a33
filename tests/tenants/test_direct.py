"""A statement that the driver sends and the database commits: as safe as a transaction, and its errors are the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, String, bindparam, func, select, text, type_coerce, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from tenants import direct
from tenants.database import connect, transaction
from tenants.models import Business
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
    for business, to in ((cast.acme, at), (cast.globex, given)):
        direct.write(_RENAME.values(archived_at=to), {"business": business.id, "to": "Closed", "at": at})
    db.execute(_RENAME.values(archived_at=at), {"business": cast.initech.id, "to": "Closed"})
    assert db.scalars(select(Business.archived_at).where(Business.name == "Closed")).all() == [at] * 3
    texts = db.scalars(select(type_coerce(Business.archived_at, String)).where(Business.name == "Closed")).all()
    assert len(set(texts)) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_one_whose_connection_is_lost_tells_so_and_the_next_one_has_another(engine: Engine, cast: Cast) -> None:
    told: list[BaseException] = []

    def lose() -> None:
        try:
            rename(cast, "Lost")
        except OperationalError as error:
            told.append(error)

    with transaction() as session:
        session.execute(_RENAME, {"business": cast.acme.id, "to": "Held"})
        loser = threading.Thread(target=lose, daemon=True)
        loser.start()
        waits = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        until(lambda: session.execute(waits).all())
        loser.join()
    assert told
    assert name(cast) == "Held"
    assert rename(cast, "Renamed") == [("Renamed",)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_one_that_is_interrupted_gives_no_busy_connection_back(engine: Engine, cast: Cast) -> None:
    class Enough(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Enough

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with transaction() as session:
            session.execute(_RENAME, {"business": cast.acme.id, "to": "Held"})
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Enough):
                rename(cast, "Late")
    finally:
        signal.signal(signal.SIGALRM, before)
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Business))
    assert rename(cast, "Renamed") == [("Renamed",)]


def test_no_database_is_an_error_of_sqlalchemys(tmp_path: Path, engine: Engine, cast: Cast) -> None:
    connect(f"sqlite:///{tmp_path}/nowhere/sluice.db")
    with pytest.raises(OperationalError):
        rename(cast, "Nowhere")


def rename(cast: Cast, to: str) -> Sequence[Any]:
    return direct.write(_RENAME, {"business": cast.acme.id, "to": to})


def name(cast: Cast) -> str | None:
    with transaction(read_only=True) as session:
        return session.scalar(select(Business.name).where(Business.id == cast.acme.id))
