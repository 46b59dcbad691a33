"""What the list of schedules shows: query string ⇄ ScheduleFilter ⇄ rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session, joinedload

from jobs import payloads, task_types
from jobs.schedule_models import Firing, Schedule
from tenants.permissions import Actor, May

SORTS = ("title", "type", "next", "created")
SIZE = 50
MAX_SEARCH = 100
_MAX_PAGE = 10_000


@dataclass(frozen=True)
class ScheduleFilter:
    """Which schedules, in which order, which page. Unknown values fall back, so any address gives a page."""

    q: str = ""
    sort: str = "title"
    descending: bool = False
    page: int = 1

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read a query string such as `q=report&sort=-next&page=2`."""
        sort, page = args.get("sort", ""), args.get("page", "")
        known = sort.removeprefix("-") in SORTS
        return cls(
            q=payloads.storable(args.get("q", "")).strip()[:MAX_SEARCH],
            sort=sort.removeprefix("-") if known else "title",
            descending=known and sort.startswith("-"),
            page=min(max(int(page), 1), _MAX_PAGE) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
        )

    def args(self, **changes: Any) -> dict[str, str]:
        """The query string of this filter with `changes`. Defaults are left out; any change leads to page one."""
        to = replace(self, **(changes if "page" in changes or not changes else {**changes, "page": 1}))
        sort = f"-{to.sort}" if to.descending else to.sort
        every = {"q": (to.q, ""), "sort": (sort, "title"), "page": (str(to.page), "1")}
        return {name: value for name, (value, default) in every.items() if value != default}

    def order(self) -> list[ColumnElement[Any]]:
        """The order of the rows. Schedules that are not due come last by `next`."""
        by_key = [self._key(), Schedule.id.expression]
        ordered: list[ColumnElement[Any]] = [one.desc() if self.descending else one.asc() for one in by_key]
        return [Schedule.next_at.is_(None), *ordered] if self.sort == "next" else ordered

    def _key(self) -> ColumnElement[Any]:
        match self.sort:
            case "type":
                titles = {one.name: one.title.lower() for one in task_types.all_types()}
                name = func.lower(Schedule.task_type)
                return case(titles, value=Schedule.task_type, else_=name) if titles else name
            case "next":
                return Schedule.next_at.expression
            case "created":
                return Schedule.created_at.expression
            case _:
                return func.lower(Schedule.title)


@dataclass(frozen=True)
class Row:
    """A schedule in a list, with its last firing."""

    schedule: Schedule
    type_title: str
    last: Firing | None


@dataclass(frozen=True)
class Page:
    """A page of schedules, and how many there are on all pages."""

    rows: Sequence[Row]
    total: int
    pages: int


def search(session: Session, by: Actor, wanted: ScheduleFilter) -> Page:
    """The schedules of the business as wanted, found by a part of their title or of their task type."""
    by.require(May.SEE_ALL)
    where = and_(Schedule.business_id == by.business.id, *_matching(wanted.q))
    total = session.scalar(select(func.count()).select_from(Schedule).where(where)) or 0
    newest = (
        select(func.max(Firing.due_at)).where(Firing.schedule_id == Schedule.id).correlate(Schedule).scalar_subquery()
    )
    query = (
        select(Schedule, Firing)
        .outerjoin(Firing, and_(Firing.schedule_id == Schedule.id, Firing.due_at == newest.scalar_subquery()))
        .options(joinedload(Firing.task))
        .where(where)
        .order_by(*wanted.order())
        .limit(SIZE)
        .offset(SIZE * (wanted.page - 1))
    )
    found = session.execute(query.execution_options(populate_existing=True))
    rows = [Row(one, task_types.title_of(one.task_type), last) for one, last in found]
    return Page(rows, total, max(1, -(-total // SIZE)))


def _matching(q: str) -> list[ColumnElement[bool]]:
    if not q:
        return []
    named = [func.lower(name).contains(q.lower(), autoescape=True) for name in (Schedule.title, Schedule.task_type)]
    return [or_(*named, Schedule.task_type.in_([one.name for one in task_types.matching(q)]))]
