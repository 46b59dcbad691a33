"""Procrastinate: 2 workers on PostgreSQL. It keeps every job and its events in SQL, as Sluice does."""

from __future__ import annotations

import os

from procrastinate import App, PsycopgConnector

from bench import witness

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_LIBPQ"]))


@app.task
async def nothing(number: int) -> None:
    witness.mark(number)


def ready() -> None:
    app.open()


def prepare() -> None:
    app.schema_manager.apply_schema()


def submit(number: int) -> None:
    nothing.defer(number=number)


def waiting() -> int:
    """How many jobs are stored and wait."""
    return _states().get("todo", 0)


def unfinished(count: int) -> str:
    """Empty when all `count` jobs have succeeded."""
    told = _states()
    return "" if told == {"succeeded": count} else f"jobs are {told}"


def _states() -> dict[str, int]:
    rows = app.connector.get_sync_connector().execute_query_all(
        "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1"
    )
    return {row["status"]: row["count"] for row in rows}
