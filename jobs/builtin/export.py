"""`tasks.export`: the task history of a business, as filtered, as a CSV file for its user."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from config import Config
from jobs.context import TaskContext
from jobs.filters import TaskFilter, View
from jobs.lists import rows_of
from jobs.pages import Row
from jobs.task_types import task_type
from tenants import accounts, members
from tenants.database import transaction
from tenants.permissions import Actor

_COLUMNS = ("id", "user", "task type", "title", "status", "priority", "created", "started", "ended", "attempts")
_CHUNK = 1000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip


class NoUser(Exception):
    """An export is what its user may see, so it needs a user."""


@task_type("tasks.export", title="Export tasks", queue="exports")
def export(
    task: TaskContext,
    *,
    filter: dict[str, str] | None = None,  # noqa: A002 - as in the address
    view: str = "all",
    zone: str = "UTC",
) -> dict[str, str | int]:
    """Write all tasks that the user may see and `filter`, a query string's values, matches in the list `view`.

    Its days are those of the time `zone`.
    """
    if task.user is None:
        raise NoUser(NoUser.__doc__)
    path = path_of(Config.from_env().data_dir, task.business, task.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    wanted = TaskFilter.from_args(filter or {}, view=View(view), zone=ZoneInfo(zone))
    rows = 0
    with task.step("Writing rows"), unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for chunk in _chunks(task.user, task.business, wanted):
            writer.writerows([_safe(cell) for cell in _cells(row)] for row in chunk)
            rows += len(chunk)
            task.log(f"{rows:,} rows")
    unfinished.rename(path)
    return {"file": path.name, "rows": rows}


def path_of(data_dir: Path, business: str, task_id: int) -> Path:
    """Where the export of a task lies."""
    return data_dir / "exports" / business / f"tasks-{task_id}.csv"


def _chunks(email: str, business: str, wanted: TaskFilter) -> Iterator[list[Row]]:
    """All matching rows, by id, each chunk read in a transaction of its own so that none stays open for long."""
    after = 0
    while True:
        with transaction(read_only=True) as session:
            user = accounts.find(session, email)
            if user is None:
                raise NoUser(NoUser.__doc__)
            actor: Actor = members.enter(session, user, business)
            chunk = list(rows_of(session, actor, wanted, after_id=after, limit=_CHUNK))
        if not chunk:
            return
        yield chunk
        after = chunk[-1].task.id


def _cells(row: Row) -> list[object]:
    task = row.task
    times = [
        at.isoformat(timespec="milliseconds") if at else "" for at in (task.created_at, task.started_at, task.ended_at)
    ]
    return [
        task.id,
        row.user_name,
        task.task_type,
        task.title or "",
        row.state.capitalize(),
        task.priority,
        *times,
        task.attempts,
    ]


def _safe(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets a quote."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
