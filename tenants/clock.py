"""The database's clock: the one clock that decides anything between processes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, in UTC. A time without a zone is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs a zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class clock(FunctionElement[datetime]):  # noqa: N801 - it reads as an SQL function
    """The database's time now, plus `seconds`. Not the transaction's start: that is stale after waiting for a lock."""

    type = UtcDateTime()
    name = "clock"
    inherit_cache = True

    def __init__(self, seconds: Any = 0.0) -> None:
        super().__init__(literal(seconds) if isinstance(seconds, int | float) else seconds)


@compiles(clock, "postgresql")
def _on_postgresql(element: clock, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + ({seconds}) * interval '1 second')"


@compiles(clock, "sqlite")
def _on_sqlite(element: clock, compiler: Any, **kw: Any) -> str:
    # The same text that SQLAlchemy stores for a datetime, so that the two compare as strings.
    seconds = compiler.process(element.clauses, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', ({seconds}) || ' seconds')"
