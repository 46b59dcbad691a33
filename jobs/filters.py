"""What a list of tasks shows: query string ⇄ TaskFilter. `jobs.lists` finds the rows."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Self, TypeVar

from jobs.payloads import storable
from jobs.states import FINAL, State
from jobs.terms import Term, terms

SIZES = (25, 50, 100)
MAX_SEARCH = 100
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_One = TypeVar("_One", bound=enum.StrEnum)


class View(enum.StrEnum):
    """The lists: Async Tasks, Active tasks and Task history."""

    ALL = "all"
    ACTIVE = "active"
    HISTORY = "history"

    @property
    def states(self) -> tuple[State, ...]:
        """The states that it shows, in their order."""
        match self:
            case View.ACTIVE:
                return tuple(one for one in State if one not in FINAL)
            case View.HISTORY:
                return (State.RUNNING, State.CANCELLING, *(one for one in State if one in FINAL))
            case _:
                return tuple(State)

    @property
    def sorts(self) -> tuple[str, ...]:
        """What it sorts by."""
        return _SORTS[self]


_SORTS = {
    View.ALL: ("created", "user", "type", "status"),
    View.ACTIVE: ("origin", "id", "status", "title", "created", "started", "attempts", "priority", "type"),
    View.HISTORY: ("status", "created", "title", "user"),
}


class Origin(enum.StrEnum):
    """Who submitted a task: a user or, as System, the Scheduler."""

    USER = "user"
    SYSTEM = "system"


class Priority(enum.StrEnum):
    """High from 10, medium from 5, else low."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks, in which order, from where on. Unknown values fall back, so any address gives a page.

    `view` and `zone`, in which `since` and `until` are days, come from the page and are not in the address.
    """

    q: str = ""
    state: State | None = None
    user: int | None = None
    type: str | None = None
    queue: str | None = None
    origin: Origin | None = None
    priority: Priority | None = None
    since: date | None = None
    until: date | None = None
    late: bool = False
    sort: str = "created"
    descending: bool = True
    size: int = 50
    after: str = ""
    before: str = ""
    view: View = View.ALL
    zone: tzinfo = UTC

    @classmethod
    def from_args(cls, args: Mapping[str, str], *, view: View = View.ALL, zone: tzinfo = UTC) -> Self:
        """Read a query string such as `q=ada&state=failed&sort=-created&size=25`."""
        sort, size, user = args.get("sort", ""), args.get("size", ""), args.get("user", "")
        known = sort.removeprefix("-") in view.sorts
        return cls(
            q=storable(args.get("q", "")).strip()[:MAX_SEARCH],
            state=_one_of(State, args.get("state")),
            user=(int(user) or None) if user.isascii() and user.isdigit() and len(user) < 10 else None,
            type=storable(args.get("type", ""))[:100] or None,
            queue=storable(args.get("queue", ""))[:50] or None,
            origin=_one_of(Origin, args.get("origin")),
            priority=_one_of(Priority, args.get("priority")),
            since=_day(args.get("since", "")),
            until=_day(args.get("until", "")),
            late=args.get("late") == "1",
            sort=sort.removeprefix("-") if known else "created",
            descending=sort.startswith("-") if known else True,
            size=int(size) if size in map(str, SIZES) else 50,
            after=args.get("after", ""),
            before=args.get("before", ""),
            view=view,
            zone=zone,
        )

    def args(self, **changes: Any) -> dict[str, str]:
        """The query string of this filter with `changes`. Defaults are left out; any change leads to page one."""
        if changes and not changes.keys() & {"after", "before"}:
            changes |= {"after": "", "before": ""}
        to = replace(self, **changes)
        sort = f"-{to.sort}" if to.descending else to.sort
        every = {name: _written(getattr(to, name)) for name in (*_NARROWING, "after", "before")}
        every |= {"sort": "" if sort == "-created" else sort, "size": "" if to.size == 50 else str(to.size)}
        return {name: value for name, value in every.items() if value}

    @property
    def is_narrowed(self) -> bool:
        """Whether a search or a filter leaves tasks of the view out."""
        return any(getattr(self, name) for name in _NARROWING)

    @property
    def terms(self) -> tuple[Term, ...]:
        """What `q` consists of."""
        return terms(self.q)

    @property
    def begins_at(self) -> datetime | None:
        """When the first day begins where the reader is."""
        return datetime.combine(self.since, time.min, self.zone) if self.since else None

    @property
    def ends_at(self) -> datetime | None:
        """When the last day is over where the reader is."""
        return datetime.combine(self.until + timedelta(days=1), time.min, self.zone) if self.until else None


_NARROWING = ("q", "state", "user", "type", "queue", "origin", "priority", "since", "until", "late")


def _one_of(kind: type[_One], value: str | None) -> _One | None:
    return kind(value) if value in set(kind) else None


def _day(written: str) -> date | None:
    """A day of a year in which every zone's times can be written."""
    try:
        found = date.fromisoformat(written) if _DAY.fullmatch(written) else None
    except ValueError:
        return None
    return found if found and 1970 <= found.year <= 9000 else None


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    return "" if value is None else str(value)
