"""SQLAlchemy's own dialects, with engines that share what they have compiled.

Every test has an engine of its own, and a compiled statement is kept by its engine and dialect: each test would
compile again what the one before it has compiled.
"""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

_STATEMENTS = 2000  # a process of the tests has this many, and not many more


class _Sharing:
    """One is as good as another: there is one version of each server here, and nobody gives dialects settings."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class SQLite(_Sharing, SQLiteDialect_pysqlite):
    """SQLite, as `sqlite://` names it."""

    supports_statement_cache = True

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Let it use what the others have compiled."""
        engine.update_execution_options(compiled_cache=_compiled)


class PostgreSQL(_Sharing, PGDialect_psycopg):
    """PostgreSQL, as `postgresql+psycopg://` names it."""

    supports_statement_cache = True

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Let it use what the others have compiled."""
        engine.update_execution_options(compiled_cache=_compiled)


_compiled: LRUCache[object, object] = LRUCache(_STATEMENTS)


def share() -> None:
    """Make them the dialects of every engine that this process creates from now on."""
    registry.register("sqlite", __name__, "SQLite")
    registry.register("postgresql.psycopg", __name__, "PostgreSQL")
