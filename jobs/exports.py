"""Exports: the task history of a business as a file. `tasks.export` is the task that writes one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO
from zoneinfo import ZoneInfo

from config import Config
from jobs.context import TaskContext
from jobs.files import path_of
from jobs.filters import TaskFilter, View
from jobs.lists import rows_of
from jobs.pages import Row
from tenants import accounts, members
from tenants.database import transaction
from tenants.permissions import Actor

_COLUMNS = ("id", "user", "task type", "title", "status", "priority", "created", "started", "ended", "attempts")
_CHUNK = 1000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip


class NoUser(Exception):
    """An export is what its user may see, so it needs a user."""


def write(task: TaskContext, asked: dict[str, str], view: str, zone: str, format_: str) -> dict[str, str | int]:
    """Write what the user of the task may see and `asked`, a query string's values, matches; the file and its rows."""
    if task.user is None:
        raise NoUser(NoUser.__doc__)
    path = path_of(Config.from_env().data_dir, task.business, task.id, format_)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    wanted = TaskFilter.from_args(asked, view=View(view), zone=ZoneInfo(zone))
    rows = 0
    with task.step("Writing rows"), unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = _WRITERS[format_](file)
        for chunk in _chunks(task.user, task.business, wanted):
            for row in chunk:
                writer.write(row)
            rows += len(chunk)
            task.log(f"{rows:,} rows")
        writer.end()
    unfinished.rename(path)
    return {"file": path.name, "rows": rows}


class _Writer(Protocol):
    """Writes rows as they come, so that no export is held in memory."""

    def write(self, row: Row) -> None: ...
    def end(self) -> None: ...


class _Csv:
    """For spreadsheets, which run what looks like a formula."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)
        self._writer.writerow(_COLUMNS)

    def write(self, row: Row) -> None:
        self._writer.writerow([_safe("" if cell is None else cell) for cell in _cells(row)])

    def end(self) -> None:
        pass


class _Json:
    """For programs: a list of objects, one a line, every text as it is."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._before = file, "[\n"

    def write(self, row: Row) -> None:
        named = dict(zip(_COLUMNS, _cells(row), strict=True))
        self._file.write(self._before + json.dumps(named, ensure_ascii=False))
        self._before = ",\n"

    def end(self) -> None:
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


_WRITERS: dict[str, Callable[[TextIO], _Writer]] = {"csv": _Csv, "json": _Json}


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
        at.isoformat(timespec="milliseconds") if at else None
        for at in (task.created_at, task.started_at, task.ended_at)
    ]
    return [
        task.id,
        row.user_name,
        task.task_type,
        task.title,
        row.state.capitalize(),
        task.priority,
        *times,
        task.attempts,
    ]


def _safe(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets a quote."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
