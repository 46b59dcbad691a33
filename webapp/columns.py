"""The columns of the tables of tasks: which each page has, in which order, and how they sort."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jobs.filters import View


@dataclass(frozen=True, eq=False)
class Column:
    """A column. `sort` is the filter's name of its order, None if the page has no such order."""

    name: str
    title: str
    sort: str | None = None
    newest_first: bool = False  # a first click on its heading shows the latest or highest on top
    optional: bool = False  # people may leave it out
    shown: bool = True  # before anybody chose


_MORE = (
    Column("priority", "Priority", optional=True, shown=False),
    Column("queue", "Queue", optional=True, shown=False),
    Column("started", "Started At", optional=True, shown=False),
    Column("attempts", "Retry Attempts", optional=True, shown=False),
)
_OF: dict[View, tuple[Column, ...]] = {
    View.ALL: (
        Column("user", "User", "user", optional=True),
        Column("type", "Task Type", "type"),
        Column("created", "Created At", "created", newest_first=True, optional=True),
        *_MORE,
        Column("status", "Status", "status"),
        Column("actions", "Actions"),
    ),
    View.ACTIVE: (
        Column("origin", "Origin", "origin", optional=True),
        Column("id", "ID", "id", newest_first=True, optional=True),
        Column("status", "Status", "status"),
        Column("title", "Task title", "title"),
        Column("created", "Created at", "created", newest_first=True, optional=True),
        Column("started", "Started at", "started", newest_first=True, optional=True),
        Column("attempts", "Retry attempts", "attempts", newest_first=True, optional=True),
        Column("priority", "Priority", "priority", newest_first=True, optional=True),
        Column("code", "Type", "type", optional=True),
        Column("interrupt", "Actions"),
    ),
    View.HISTORY: (
        Column("status", "Status", "status"),
        Column("created", "Created", "created", newest_first=True, optional=True),
        Column("name", "Title", "title"),
        Column("initiator", "Initiator", "user", optional=True),
        Column("queue", "Queue", optional=True, shown=False),
        Column("priority", "Priority", optional=True, shown=False),
        Column("attempts", "Retry attempts", optional=True, shown=False),
    ),
}


def of(view: View) -> Sequence[Column]:
    """All columns of a page, in order."""
    return _OF[view]


def shown(view: View, chosen: Collection[str]) -> Sequence[Column]:
    """The columns to show, of those that somebody `chosen`; empty: nobody chose yet."""
    return [one for one in of(view) if not one.optional or (one.name in chosen if chosen else one.shown)]
