"""How pages write times, numbers, states and icons, for templates."""

from __future__ import annotations

import functools
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Flask, g
from markupsafe import Markup

from jobs import task_types
from jobs.states import State
from webapp.folding import folded_json
from webapp.security import STATIC

_SPRITE = "/static/vendor/tabler-icons-3.51.0/icons.svg"
_ICON = Markup('<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>')


def init_app(app: Flask) -> None:
    """Give the filters and the icons to the templates."""
    times = (time, moment, until, clock_time, duration)
    words = (state_label, priority_label, rate_label, type_title)
    filters = (*times, *words, number, pretty_json, folded_json, escaped_controls)
    app.jinja_env.filters.update({one.__name__: one for one in filters})
    app.jinja_env.globals |= {"static_url": static_url, "icon": icon}
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


# What a terminal acts on and no page shows, and what turns the direction of the text around it.
_CONTROLS = {one: f"\\x{one:02x}" for one in (*range(9), *range(11, 32), *range(127, 160))} | {
    one: f"\\u{one:04x}" for one in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def escaped_controls(text: str) -> str:
    """What a handler or a script said, with control characters as Python writes them; tabs and line ends stay."""
    return text.translate(_CONTROLS)


def time(value: datetime | None, zone: ZoneInfo | None = None) -> Markup:
    """A time: how long ago in browsers that know how, else as the clock of that zone or of the user shows it."""
    if value is None:
        return Markup("&ndash;")
    local, utc = value.astimezone(zone or user_zone()), f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    long = f"{local:%-d %b %Y, %H:%M:%S}"
    # Nothing here is anybody's text, and a table has many times.
    inside = f'<time datetime="{utc}">{long[:-3]}</time>'
    return Markup(f'<relative-time datetime="{utc}" title="{long} {local.tzname()}">{inside}</relative-time>')  # noqa: S704


def until(value: datetime) -> Markup:
    """When something ends or began, as the user's clock shows it, with the zone."""
    return Markup('<time datetime="{}">{}</time>').format(
        value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), until_text(value)
    )


def until_text(value: datetime) -> str:
    """14:00 CET today, 22 Nov, 14:00 CET on another day, with the year in another one."""
    local, now = value.astimezone(user_zone()), datetime.now(user_zone())
    day = (
        "" if local.date() == now.date() else f"{local:%-d %b}, " if local.year == now.year else f"{local:%-d %b %Y}, "
    )
    zone = local.tzname() or ""
    return f"{day}{local:%H:%M} {zone if zone[:1].isalpha() else f'UTC{zone}'}"


def moment(value: datetime) -> Markup:
    """A time to the second, as the user's clock shows it: for what follows each other closely."""
    local = value.astimezone(user_zone())
    day = f"{local:%-d %b}" if local.year == datetime.now(user_zone()).year else f"{local:%-d %b %Y}"
    return Markup('<time datetime="{utc}" title="{long}">{short}</time>').format(
        utc=value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        long=f"{local:%-d %b %Y, %H:%M:%S} {local.tzname()}",
        short=f"{day}, {local:%H:%M:%S}",
    )


def clock_time(value: datetime) -> str:
    """14:03:05 on the user's clock."""
    return f"{value.astimezone(user_zone()):%H:%M:%S}"


def duration(value: timedelta) -> str:
    """350 ms, 4.2 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    seconds = max(0.0, value.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def number(value: int) -> str:
    """1,234."""
    return f"{value:,}"


def state_label(state: str) -> str:
    """Pending, Paused, Running and so on."""
    return State(state).capitalize()


def priority_label(priority: int) -> str:
    """High from 10, Medium from 5, else Low."""
    return "High" if priority >= 10 else "Medium" if priority >= 5 else "Low"


def rate_label(rate: str) -> str:
    """Every second, every 5 seconds, every minute, never."""
    return {"off": "Never", "1": "Every second", "60": "Every minute"}.get(rate, f"Every {rate} seconds")


def type_title(name: str) -> str:
    """The title of a task type; its name if it is not registered here."""
    return task_types.title_of(name)


def pretty_json(value: Any) -> str:
    """JSON on several lines, as stored."""
    return json.dumps(value, indent=2, ensure_ascii=False)


@functools.cache
def icon(name: str) -> Markup:
    """One icon of the sprite. It is decoration: the word stands beside it, or in the control's label."""
    # No macro: a page of tasks has a hundred of them.
    return _ICON.format(_SPRITE, name)


def static_url(name: str) -> str:
    """The address of a file of ours, with a version so that browsers notice a new one."""
    file = STATIC / name
    return f"/static/{name}?v={_version(name, file.stat().st_mtime_ns)}"


def user_zone() -> ZoneInfo:
    """The time zone of whoever looks."""
    login = g.get("login")
    try:
        return ZoneInfo(login.user.time_zone if login else "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


@functools.cache
def _version(name: str, _changed_at: int) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]
