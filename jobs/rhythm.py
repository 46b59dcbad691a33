"""When a schedule is due: by cron in a time zone, or every so many seconds. Pure arithmetic: no clock, no database.

A cron line follows the wall clock of its zone: a time that is skipped in spring is due at the next valid instant, one
that comes twice in autumn is due once. With every hour in it (`*`, `0-23`, `*/1`) it follows elapsed time instead:
every instant whose wall time matches is due, so that "every ten minutes" neither stands still nor runs twice as the
clocks change.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from croniter import croniter
from croniter.croniter import CroniterError

from tenants.errors import Invalid

MIN_INTERVAL_SECONDS = 10
MAX_INTERVAL_SECONDS = 10 * 366 * 86_400
MAX_CRON = 100
_MINUTE = timedelta(minutes=1)
_FIELDS = re.compile(r"[0-9a-z*/,#?-]+( [0-9a-z*/,#?-]+){4}", re.IGNORECASE)
_RANDOM = re.compile(r"(^|[ ,])[hr](?![a-z])", re.IGNORECASE)
_NOT_ZONES = {"localtime", "Factory"}  # files beside the zones, whose meaning depends on the machine


class BadRhythm(Invalid):
    """A schedule has either a cron line or an interval."""


class BadCron(BadRhythm):
    """A cron line has five fields: minute, hour, day of month, month and day of week."""


class BadInterval(BadRhythm):
    """An interval is a whole number of seconds: 10 or more, and ten years at most."""


class UnknownZone(BadRhythm):
    """There is no such time zone. Names are like Europe/Paris or UTC."""


@dataclass(frozen=True)
class Rhythm:
    """A cron line in a time zone, or an interval in seconds."""

    cron: str | None = None
    interval_seconds: int | None = None
    time_zone: str = "UTC"

    def check(self, now: datetime) -> None:
        """A typed BadRhythm for the first thing that is wrong."""
        if (self.cron is None) is (self.interval_seconds is None):
            raise BadRhythm(field="cron")
        if type(self.time_zone) is not str or self.time_zone not in zones():
            raise UnknownZone(field="time_zone")
        if self.cron is None:
            _check_interval(self.interval_seconds)
        else:
            _check_fields(self.cron)
            self.after(now)  # the only way to tell that there is a 30th of February in it

    def after(self, at: datetime) -> datetime:
        """The first due time after `at`. For an interval, `at` is a due time itself."""
        if self.cron is None:
            return at + self._interval
        zone = zoneinfo.ZoneInfo(self.time_zone)
        try:
            found = _by_elapsed_time if _has_every_hour(self.cron) else _by_wall_clock
            return found(self.cron, zone, at.astimezone(UTC))
        except (CroniterError, OverflowError):
            raise BadCron("This cron line never comes to a date.", field="cron") from None

    def upcoming(self, due: datetime, now: datetime) -> datetime:
        """The first due time after `now`, in the series that `due` belongs to."""
        return due if due > now else self.after(self.latest(due, now))

    def latest(self, due: datetime, now: datetime) -> datetime:
        """The last due time until `now`, in the series that `due` belongs to; `due` is not after `now`."""
        if self.cron is None:
            return due + (now - due) // self._interval * self._interval
        none_since = now
        while none_since - due >= _MINUTE:  # due times are a minute apart; by halves, a year takes twenty steps
            middle = due + (none_since - due) / 2
            found = self.after(middle)
            if found <= now:
                due = found
            else:
                none_since = middle
        return due

    def series(self, due: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """`due` and the due times after it, in order, up to and with `until`."""
        while until is None or due <= until:
            yield due
            due = self.after(due)

    @property
    def _interval(self) -> timedelta:
        return timedelta(seconds=self.interval_seconds or 0)


@functools.cache
def zones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(zoneinfo.available_timezones() - _NOT_ZONES)


def _check_interval(seconds: object) -> None:
    if type(seconds) is not int or not MIN_INTERVAL_SECONDS <= seconds <= MAX_INTERVAL_SECONDS:
        raise BadInterval(field="interval_seconds")


def _check_fields(cron: str) -> None:
    """Five fields, as crontab(5) knows them. croniter takes seconds, years and random values as well."""
    if type(cron) is not str or len(cron) > MAX_CRON or not _FIELDS.fullmatch(cron):
        raise BadCron(field="cron")
    if _RANDOM.search(cron):
        raise BadCron("A cron line has no random values.", field="cron")
    try:
        croniter(cron)
    except (CroniterError, ValueError, TypeError, KeyError, IndexError) as error:
        raise BadCron(f"This is not a cron line: {error}.", field="cron") from None


@functools.lru_cache(maxsize=1024)
def _has_every_hour(cron: str) -> bool:
    """Whether its hours leave none out, however that is written: croniter writes `*` for it."""
    return "*" in croniter(cron).expanded[1]


def _by_wall_clock(cron: str, zone: tzinfo, at: datetime) -> datetime:
    """The first instant after `at` that stands for a matching wall time. Each wall time stands for one instant."""
    return next(instant for wall in _walls(cron, _wall(at, zone)) if (instant := _instant(wall, zone)) > at)


def _by_elapsed_time(cron: str, zone: tzinfo, at: datetime) -> datetime:
    """The first instant after `at` whose wall time matches."""
    ahead = (instant for wall in _walls(cron, _wall(at, zone)) for instant in _occurrences(wall, zone) if instant > at)
    found = next(ahead)
    back = _set_back_at(at, zone)
    if back is None or found < back:
        return found
    passed = _walls(cron, _wall(back, zone) - _MINUTE)  # wall times that `at` has passed come once more
    return min(found, next(one for wall in passed for one in _occurrences(wall, zone) if one >= back))


def _walls(cron: str, after: datetime) -> Iterator[datetime]:
    """The matching wall times, without a zone."""
    times = croniter(cron, after)
    while True:
        yield times.get_next(datetime)


def _wall(at: datetime, zone: tzinfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _occurrences(wall: datetime, zone: tzinfo) -> list[datetime]:
    """The instants at which clocks show this: one, two when they are set back, none when they are set forward."""
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(one for one in both if _wall(one, zone) == wall)


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """The first instant at which clocks show this; of a time that they skip, the instant at which they do."""
    shown = _occurrences(wall, zone)
    if shown:
        return shown[0]
    before, after = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    return _change(before, after, zone)


def _set_back_at(at: datetime, zone: tzinfo) -> datetime | None:
    """When clocks are set back, if what they show at `at` comes once more after it."""
    shown = _occurrences(_wall(at, zone), zone)
    return _change(at, shown[-1], zone) if shown[-1] > at else None


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The instant between the two at which the zone's offset changes."""
    low, high, offset = int(before.timestamp()), int(after.timestamp()), before.astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
