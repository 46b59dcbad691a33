"""The rows of tables of tasks, as HTML.

Rows of one shape differ by their texts only. So each shape is rendered once, with the names of the texts in braces, and
each row puts its texts there: a tenth of the time that rendering it would take. Rows are remembered, too: tables are
asked for again every few seconds, and little has changed then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flask import Flask, current_app, g
from markupsafe import Markup, escape

from jobs.models import Pause
from jobs.pages import Row
from jobs.states import State
from tenants.permissions import May
from webapp import formats
from webapp.columns import Column

_KEPT = 1_000  # shapes: a table has some ten
_REMEMBERED = 2_000  # rows, of some 2 KB
_NUMBERS = {"id": 9_007_199_254_740_001, "user_id": 9_007_199_254_740_002}  # stand for those in links: no id is near


class Look(NamedTuple):
    """What the rows of a table share. Their links depend on the business, their times on the zone of whoever looks."""

    columns: tuple[Column, ...]
    may_manage: bool
    business: str
    zone: ZoneInfo


class Shape(NamedTuple):
    """What decides which parts a row has."""

    state: State
    priority: str
    has_begun: bool
    is_late: bool
    missing: tuple[str, ...]  # of what it may have


def init_app(app: Flask) -> None:
    """Templates use `task_rows`."""
    app.jinja_env.globals["task_rows"] = task_rows


def task_rows(rows: Sequence[Row], columns: Sequence[Column], held_by: Mapping[int, Pause]) -> Iterator[Markup]:
    """Each row, for whoever looks. `held_by` are the pauses that hold tasks, by id."""
    look = Look(tuple(columns), g.actor.may(May.MANAGE), g.actor.business.slug, formats.user_zone())
    return (_html(row, held_by.get(row.pause_id or 0), look) for row in rows)


def _html(row: Row, pause: Pause | None, look: Look) -> Markup:
    missing = tuple(name for name, is_there in _MAYBE.items() if not is_there(row, pause))
    level = formats.priority_label(row.task.priority)
    shape = Shape(row.state, level, row.task.attempts > 0, row.is_late, missing)
    _, names = _pattern(look, shape)
    return _filled(look, shape, tuple(_TEXTS[name](row, pause) for name in names))


@functools.lru_cache(maxsize=_REMEMBERED)
def _filled(look: Look, shape: Shape, values: tuple[object, ...]) -> Markup:
    pattern, names = _pattern(look, shape)
    texts = {
        name: formats.time(value, look.zone) if isinstance(value, datetime) else escape(value)
        for name, value in zip(names, values, strict=True)
    }
    return Markup(pattern.format_map(texts))  # noqa: S704 - only the template's HTML is not escaped


def _note(row: Row, pause: Pause | None) -> str | None:
    """What is to say about its state: the pause, the progress or the cause."""
    task = row.task
    if pause:
        ends = f", until {formats.until_text(pause.until)}" if pause.until else ""
        return f"by {pause.author}: {pause.reason}{ends}"
    if row.state is State.RUNNING and task.progress_total:
        return f"{formats.number(task.progress_done or 0)} of {formats.number(task.progress_total)}"
    return task.cause


# Texts that not every row has, and what tells.
_MAYBE: dict[str, Callable[[Row, Pause | None], Any]] = {
    "user_id": lambda row, _: row.task.user_id,
    "title": lambda row, _: row.task.title,
    "waits_until": lambda row, _: row.waits_until,
    "note": _note,
}
# All that the template may write about a task, besides its shape.
_TEXTS: dict[str, Callable[[Row, Pause | None], Any]] = {
    "id": lambda row, _: row.task.id,
    "title": lambda row, _: row.task.title,
    "user_id": lambda row, _: row.task.user_id,
    "user_name": lambda row, _: row.user_name,
    "initial": lambda row, _: row.user_name[:1].upper(),
    "task_type": lambda row, _: row.task.task_type,
    "type_title": lambda row, _: row.type_title,
    "queue": lambda row, _: row.task.queue,
    "number": lambda row, _: row.task.priority,
    "attempts": lambda row, _: row.task.attempts,
    "max_attempts": lambda row, _: row.task.max_attempts,
    "created_at": lambda row, _: row.task.created_at,
    "started_at": lambda row, _: row.task.started_at or formats.time(None),
    "waits_until": lambda row, _: row.task.next_try_at,
    "note": _note,
}


class _Names(dict[str, Any]):
    """A row of which every text is its name."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


@functools.lru_cache(maxsize=_KEPT)
def _pattern(look: Look, shape: Shape) -> tuple[str, Sequence[str]]:
    """The HTML of such a row with the names of its texts in braces, and these names."""
    macros: Any = current_app.jinja_env.get_template("macros/rows.html").module
    html = str(macros.row(_Names(_NUMBERS | dict.fromkeys(shape.missing) | shape._asdict()), look))
    for name, number in _NUMBERS.items():
        html = html.replace(str(number), f"{{{name}}}")
    return html, [name for name in _TEXTS if f"{{{name}}}" in html]
