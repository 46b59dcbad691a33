"""What PostgreSQL's autovacuum would do for `tasks`, a minute later: too late when very many are moved or come at once.

Each move leaves a dead entry in the index of what waits, and claims read past all of them: a third more time for each
claim after 100,000. And a flood into a table that was analysed while it was all but empty is searched as if it still
were: 40 ms for a claim among 40,000, where 4 are enough.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from tenants.database import bound, transaction

log = structlog.get_logger()

MANY = 10_000  # tasks moved or changed that are worth it
_ANALYSE_AGAIN_SECONDS = 10.0

# Neither if autovacuum is at it already.
_VACUUM = text("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) tasks")
_ANALYZE = text("ANALYZE (SKIP_LOCKED) tasks")
_IS_UNKNOWN = text(
    "SELECT now.n_mod_since_analyze > greatest(:many, known.reltuples) FROM pg_stat_user_tables AS now "
    "JOIN pg_class AS known ON known.oid = now.relid WHERE now.relid = 'tasks'::regclass"
)


class Vacuum:
    """Knows what was moved and changed. The work has a thread of its own: it may take seconds, and the beat goes on."""

    def __init__(self) -> None:
        self._moved, self._analyse_at = 0, 0.0
        self._thread: threading.Thread | None = None

    def note(self, moved: int, *, is_done: bool) -> None:
        """So many more were moved; vacuum, when those were the last of many."""
        self._moved += moved
        if is_done and self._moved >= MANY and self._begin(_VACUUM, "vacuumed"):
            self._moved = 0

    def look(self) -> None:
        """Analyse, when many changed since the last time, and more than there were then."""
        if bound().dialect.name != "postgresql" or time.monotonic() < self._analyse_at:
            return
        with transaction(read_only=True) as session:
            is_unknown = session.scalar(_IS_UNKNOWN, {"many": MANY})
        if is_unknown and self._begin(_ANALYZE, "analysed"):
            self._analyse_at = time.monotonic() + _ANALYSE_AGAIN_SECONDS

    def _begin(self, act: TextClause, done: str) -> bool:
        """Whether nothing else was going on."""
        if self._thread and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=_run, args=(act, done), name="vacuum", daemon=True)
        self._thread.start()
        return True


def _run(act: TextClause, done: str) -> None:
    """PostgreSQL raises no error when it skips a table, locked or of another owner: it gives notice."""
    began, notices = time.monotonic(), list[str]()
    try:
        if bound().dialect.name != "postgresql":
            return
        with bound().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            dbapi: Any = connection.connection.dbapi_connection
            dbapi.add_notice_handler(note := lambda about: notices.append(about.message_primary))
            try:
                connection.execute(act)
            finally:
                dbapi.remove_notice_handler(note)
    except SQLAlchemyError as error:
        notices.append(str(error))
    if notices:  # autovacuum does it, then
        undone = f"not {done}"
        log.warning(undone, reason=notices[0])
    else:
        log.info(done, seconds=round(time.monotonic() - began, 1))
