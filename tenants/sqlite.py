"""SQLite: its pragmas, its one writer, and the door before that."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, PoolProxiedConnection, event

_Answer = TypeVar("_Answer")
_PATIENCE_SECONDS = 10  # for the write lock
# The size of a page counts when a database is made, before it has a journal. A submit writes eleven pages, most of them
# of indexes: small ones are written sooner. So that many tasks at once do not pay for it, the log grows to 8 MB, not 2.
_ALWAYS = {"page_size": "2048", "journal_mode": "WAL", "wal_autocheckpoint": "4000", "foreign_keys": "ON"}
_USUALLY = {
    "busy_timeout": str(_PATIENCE_SECONDS * 1000),
    "synchronous": "FULL",  # with NORMAL a power cut may lose the last commits, and a submitted task must stay
    "query_only": "OFF",
}


def prepare(engine: Engine) -> None:
    """Give an engine our pragmas and our rules for transactions."""
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "close", _close_door)
    event.listen(engine, "begin", _begin)


def alone(engine: Engine, lent: PoolProxiedConnection, write: Callable[[], _Answer]) -> _Answer:
    """Let the lent connection run one statement that writes, as durable and as patient as a transaction."""
    _set(lent, _USUALLY, lent.execute)
    return _at_turnstile(engine, lent, lambda _: write())


def _set_up(dbapi: Any, _record: Any) -> None:
    dbapi.isolation_level = None
    # SQLite's own lower() knows only ASCII: nobody would find Åsa.
    dbapi.create_function("lower", 1, lambda text: text.lower() if isinstance(text, str) else text, deterministic=True)
    for pragma, value in (_ALWAYS | _USUALLY).items():
        dbapi.execute(f"PRAGMA {pragma}={value}")


def _begin(connection: Connection) -> None:
    """Begin with the write lock, since a later upgrade of a read may fail; claimers let people go first."""
    options, lent = connection.get_execution_options(), connection.connection
    _set(
        lent,
        {
            "busy_timeout": str(int(options.get("patience", _PATIENCE_SECONDS) * 1000)),
            "synchronous": "FULL" if options.get("durable", True) else "NORMAL",
            "query_only": "ON" if options.get("dry") else "OFF",
        },
        connection.exec_driver_sql,
    )
    if options.get("read_only"):
        connection.exec_driver_sql("BEGIN")
        return
    if options.get("patience"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # at the door it might wait longer
        return

    def begin(door: int) -> None:
        if options.get("claims"):
            fcntl.flock(door, fcntl.LOCK_UN)
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    _at_turnstile(connection.engine, lent, begin)


def _set(lent: PoolProxiedConnection, wanted: dict[str, str], execute: Callable[[str], Any]) -> None:
    """Set what differs from what was wanted of this connection before."""
    if (before := lent.info.get("pragmas", _USUALLY)) != wanted:
        lent.info["pragmas"] = {}  # if one fails, nobody knows
        for pragma in (one for one in wanted if wanted[one] != before.get(one)):
            execute(f"PRAGMA {pragma}={wanted[pragma]}")
        lent.info["pragmas"] = wanted


def _at_turnstile(engine: Engine, lent: PoolProxiedConnection, act: Callable[[int], _Answer]) -> _Answer:
    """Do it at the one door before the write lock, so that a pause never starves behind busy claimers."""
    door = lent.info.get("door")
    if door is None:  # one for each connection: threads that share one would not keep each other out
        path = engine.url.database
        file = f"{path}.turnstile" if path and path != ":memory:" else os.devnull
        door = lent.info["door"] = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        return act(door)
    finally:
        fcntl.flock(door, fcntl.LOCK_UN)


def _close_door(_dbapi: Any, record: Any) -> None:
    if (door := record.info.pop("door", None)) is not None:
        os.close(door)
