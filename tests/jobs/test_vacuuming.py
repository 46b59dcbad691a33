"""PostgreSQL is vacuumed and analysed at once after very many moves and changes: autovacuum comes a minute later."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from jobs import vacuuming
from jobs.beat import Beat
from jobs.models import Pause, Task
from jobs.vacuuming import Vacuum
from tenants.database import transaction
from tests import look
from tests.factories import Cast
from tests.waiting import until

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def _by_itself(engine: Engine) -> None:
    """No autovacuum."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE tasks SET (autovacuum_enabled = false)"))


def test_postgresql_is_rid_of_what_very_many_moves_left_behind(db: Session, cast: Cast) -> None:
    """Claims would read past a dead entry for each of them until autovacuum comes."""
    row = {"business_id": cast.acme.id, "user_id": cast.ben.user.id, "task_type": "test.note", "queue": "default"}
    db.execute(insert(Task), [row] * 12_000)
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    db.commit()
    pending, beat = select(func.count()).where(Task.state == "pending"), Beat()
    while look.scalar(pending):
        assert vacuums() == 0, "once, when all is done"
        beat.settle()
    beat.settle()
    until(lambda: vacuums() == 1)
    beat.settle()
    assert vacuums() == 1


def test_a_vacuum_that_postgresql_skips_is_told(engine: Engine) -> None:
    with engine.begin() as connection, capture_logs() as told:
        connection.execute(text("LOCK TABLE tasks IN SHARE UPDATE EXCLUSIVE MODE"))  # as a vacuum has it
        Vacuum().note(10_000, is_done=True)
        until(lambda: told)
    assert told[0]["event"] == "not vacuumed"
    assert "lock not available" in told[0]["reason"]
    assert vacuums() == 0


def test_a_vacuum_that_fails_is_told_and_leaves_nothing_on_the_connection(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuuming, "_VACUUM", text("VACUUM nowhere"))
    with transaction() as session:
        used: Any = session.connection().connection.dbapi_connection
    before = list(used._notice_handlers)
    with capture_logs() as told:
        Vacuum().note(10_000, is_done=True)
        until(lambda: told)
    assert "nowhere" in told[0]["reason"]
    assert used._notice_handlers == before


def test_a_flood_is_analysed_once(db: Session, cast: Cast) -> None:
    """Claims would go by what was known before for a minute: in a new installation that there is nothing."""
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default"}
    vacuum = Vacuum()
    vacuum.look()
    db.execute(insert(Task), [row] * 10_001)
    db.commit()
    until(lambda: changed() == 10_001)
    vacuum.look()
    until(lambda: changed() == 0)
    db.execute(insert(Task), [row] * 10_002)
    db.commit()
    until(lambda: changed() == 10_002)
    vacuum.look()
    assert changed() == 10_002, "so soon again it does not"
    Vacuum().look()
    until(lambda: changed() == 0)


def test_what_is_less_than_there_was_before_is_left_to_autovacuum(db: Session, cast: Cast) -> None:
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default"}
    db.execute(insert(Task), [row] * 10_001)
    db.commit()
    until(lambda: changed() == 10_001)
    Vacuum().look()
    until(lambda: changed() == 0)
    db.execute(insert(Task), [row] * 10_001)
    db.commit()
    until(lambda: changed() == 10_001)
    vacuum = Vacuum()
    vacuum.look()
    assert vacuum._thread is None


def vacuums() -> int:
    """How often somebody asked for a vacuum of the tasks."""
    asked = text("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'tasks'")
    with transaction(read_only=True) as session:
        return int(session.scalar(asked) or 0)


def changed() -> int:
    """How many tasks changed since they were analysed."""
    return int(look.scalar(select(text("n_mod_since_analyze FROM pg_stat_user_tables WHERE relname = 'tasks'"))) or 0)
