"""Times the claims of a worker from outside: a task module that registers no task, but listens to SQLAlchemy.

Each claim becomes 24 bytes in a file in memory: when it was sent, how long its statements took, in microseconds, and
for which business.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from bench import witness

_PATH = os.environ.get("BENCH_CLAIMS", os.devnull)
_file = os.open(_PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # before any fork
_RECORD = struct.Struct("<QQQ")


@event.listens_for(Engine, "before_cursor_execute")
def _sent(connection: Connection, *_: Any) -> None:
    connection.info["bench sent"] = witness.now()


@event.listens_for(Engine, "after_cursor_execute")
def _answered(connection: Connection, _cursor: Any, statement: str, _sent: Any, context: Any, _many: bool) -> None:
    """A claim may be of several statements: those that look how far it goes count, too."""
    if _is_claim(statement) or _is_look(statement):
        sent = connection.info["bench sent"]
        first, took, _ = connection.info.get("bench claim", (sent, 0, 0))
        business = context.compiled_parameters[0]["business"]
        connection.info["bench claim"] = first, took + witness.now() - sent, business


@event.listens_for(Engine, "commit")
def _committed(connection: Connection) -> None:
    if claim := connection.info.pop("bench claim", None):
        os.write(_file, _RECORD.pack(*claim))


@event.listens_for(Engine, "rollback")
def _forgotten(connection: Connection) -> None:
    connection.info.pop("bench claim", None)


def _is_claim(statement: str) -> bool:
    """Only a claim adds one to the attempts of tasks and answers rows."""
    return "UPDATE tasks" in statement and "RETURNING" in statement and "attempts + " in statement


def _is_look(statement: str) -> bool:
    """How far a claim may look, and whether anything is in its way. A look that asks for types holds no lock."""
    if "AS head" in statement:
        return True
    return statement.startswith("SELECT tasks.next_try_at, tasks.id") and "task_type" not in statement


def read(path: Path) -> list[tuple[int, int, int]]:
    """When each claim was sent, the microseconds it took, and whose it was."""
    return [(sent, took, business) for sent, took, business in _RECORD.iter_unpack(path.read_bytes())]
