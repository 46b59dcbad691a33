"""Vacuuming `tasks` on PostgreSQL when very many were moved at once.

Each move leaves a dead entry in the index of what waits, and claims read past all of them: a third more time for each
claim after 100,000. Autovacuum would come, a minute later and slowly.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tenants.database import bound

log = structlog.get_logger()

MANY = 10_000  # moved tasks that are worth a vacuum

# Not if autovacuum is at it already.
_VACUUM = text("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) tasks")


class Vacuum:
    """Counts what was moved. A vacuum has a thread of its own: it takes seconds, and a beat must not wait for it."""

    def __init__(self) -> None:
        self._moved = 0
        self._thread: threading.Thread | None = None

    def note(self, moved: int, *, is_done: bool) -> None:
        """So many more were moved; begin, when those were the last of many."""
        self._moved += moved
        if is_done and self._moved >= MANY and not (self._thread and self._thread.is_alive()):
            self._moved = 0
            self._thread = threading.Thread(target=_vacuum, name="vacuum", daemon=True)
            self._thread.start()


def _vacuum() -> None:
    """PostgreSQL raises no error when it skips a table, locked or of another owner: it gives notice."""
    began, notices = time.monotonic(), list[str]()
    try:
        if bound().dialect.name != "postgresql":
            return
        with bound().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            dbapi: Any = connection.connection.dbapi_connection
            dbapi.add_notice_handler(note := lambda about: notices.append(about.message_primary))
            try:
                connection.execute(_VACUUM)
            finally:
                dbapi.remove_notice_handler(note)
    except SQLAlchemyError as error:
        notices.append(str(error))
    if notices:  # autovacuum does it, then
        log.warning("not vacuumed", reason=notices[0])
    else:
        log.info("vacuumed", seconds=round(time.monotonic() - began, 1))
