"""When a schedule is due, also as clocks change. The oracle walks every minute and knows nothing of croniter."""

from __future__ import annotations

import itertools
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.rhythm import BadCron, BadInterval, BadRhythm, Rhythm, UnknownZone, zones

MINUTE = timedelta(minutes=1)
ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Paris, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Paris, back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York, forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, forward by 30 minutes
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, back by 30 minutes
]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """A cron line as sets. No hours: `*`. At most one of days and weekdays, since cron reads both as either."""

    minutes: frozenset[int]
    hours: frozenset[int] | None
    days: frozenset[int] | None
    weekdays: frozenset[int] | None

    def __str__(self) -> str:
        fields = (self.minutes, self.hours, self.days, None, self.weekdays)
        return " ".join("*" if one is None else ",".join(map(str, sorted(one))) for one in fields)

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and (self.hours is None or wall.hour in self.hours)
            and (self.days is None or wall.day in self.days)
            and (self.weekdays is None or wall.isoweekday() % 7 in self.weekdays)
        )


def of(low: int, high: int, most: int = 6) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.integers(low, high), min_size=1, max_size=most)


LINES = st.builds(
    lambda minutes, hours, day: Line(minutes, hours, *day),
    of(0, 59, 60) | of(0, 59),
    st.none() | of(0, 4) | of(0, 23),
    st.just((None, None)) | st.tuples(of(1, 31, 20), st.none()) | st.tuples(st.none(), of(0, 6)),
)


def expected(line: Line, zone: str, since: datetime, till: datetime) -> list[datetime]:
    """Every due time after `since` and until `till`, by walking all minutes."""
    found, seen = [], set()
    last = wall_at(since - timedelta(hours=2), zone)
    for step in range(-119, int((till - since) / MINUTE) + 1):
        at = since + step * MINUTE
        wall = wall_at(at, zone)
        skipped = [last + n * MINUTE for n in range(1, int((wall - last) / MINUTE))]
        if line.hours is None:
            due = line.matches(wall)
        else:
            due = (line.matches(wall) and wall not in seen) or any(map(line.matches, skipped))
        seen.add(wall)
        last = wall
        if due and step > 0:
            found.append(at)
    return found


def wall_at(at: datetime, zone: str) -> datetime:
    return at.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def walls(cron: str, zone: str, since: str, count: int) -> list[str]:
    """The next due times as clocks in the zone show them."""
    rhythm = Rhythm(cron, time_zone=zone)
    first = rhythm.after(datetime.fromisoformat(since))
    local = [one.astimezone(zoneinfo.ZoneInfo(zone)) for one in itertools.islice(rhythm.series(first), count)]
    return [one.strftime("%d %H:%M%z") for one in local]


@settings(max_examples=300, deadline=None)
@given(LINES, st.sampled_from(ZONES), st.sampled_from(CHANGES), st.integers(-600, 120))
@example(Line(frozenset({30}), frozenset({2}), None, None), "Europe/Paris", CHANGES[0], -60)
@example(Line(frozenset({30}), frozenset({2}), None, None), "Europe/Paris", CHANGES[1], -40)
@example(Line(frozenset({30}), None, None, None), "Europe/Paris", CHANGES[1], -10)
@example(Line(frozenset({10}), None, frozenset({25}), None), "Europe/Paris", CHANGES[1], -50)
@example(Line(frozenset({0, 15, 30}), frozenset({2}), None, None), "Australia/Lord_Howe", CHANGES[4], -60)
def test_a_cron_line_is_due_when_the_wall_clock_says_so(line: Line, zone: str, change: datetime, minutes: int) -> None:
    since = change + minutes * MINUTE
    till = since + timedelta(hours=20)
    wanted = expected(line, zone, since, till)
    rhythm = Rhythm(str(line), time_zone=zone)
    first = rhythm.after(since)
    assert [*rhythm.series(first, till)] == wanted
    if wanted:
        assert rhythm.latest(wanted[0], till) == wanted[-1]
        assert rhythm.upcoming(wanted[0], till) == rhythm.after(wanted[-1]) > till


@settings(max_examples=100, deadline=None)
@given(LINES, st.sampled_from(sorted(zones())), st.datetimes(datetime(2001, 1, 1), datetime(2060, 1, 1)))  # noqa: DTZ001
def test_due_times_strictly_increase_in_every_zone_and_match(line: Line, zone: str, since: datetime) -> None:
    rhythm, at = Rhythm(str(line), time_zone=zone), since.replace(tzinfo=UTC)
    found = list(itertools.islice(rhythm.series(rhythm.after(at)), 30))
    assert at < found[0]
    assert all(earlier < later for earlier, later in itertools.pairwise(found))
    shown = [wall_at(one, zone) for one in found]
    before = [wall_at(one - timedelta(seconds=1), zone).replace(second=0) for one in found]
    for one, last in zip(shown, before, strict=True):
        skips = [last + n * MINUTE for n in range(1, int((one - last) / MINUTE))]
        assert line.matches(one) or (line.hours is not None and any(map(line.matches, skips)))
    if line.hours is not None:
        assert len(set(shown)) == len(shown), "no wall time comes twice"


def test_a_skipped_time_is_due_at_the_next_valid_instant() -> None:
    assert walls("30 2 * * *", "Europe/Paris", "2026-03-28T12:00Z", 2) == ["29 03:00+0200", "30 02:30+0200"]
    assert walls("5,30 2 * * *", "America/New_York", "2026-03-08T00:00Z", 2) == ["08 03:00-0400", "09 02:05-0400"]
    assert walls("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", 2) == ["04 02:30+1100", "05 02:15+1100"]
    assert walls("0,30 3 * * *", "Europe/Paris", "2026-03-28T12:00Z", 2) == ["29 03:00+0200", "29 03:30+0200"]
    assert walls("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00Z", 2) == ["29 12:00-1000", "31 00:00+1400"]


def test_a_doubled_time_is_due_once() -> None:
    assert walls("30 2 * * *", "Europe/Paris", "2026-10-24T12:00Z", 2) == ["25 02:30+0200", "26 02:30+0100"]
    assert walls("30 1 * * *", "America/New_York", "2026-11-01T00:00Z", 2) == ["01 01:30-0400", "02 01:30-0500"]
    assert walls("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z", 2) == ["05 01:45+1100", "06 01:45+1030"]


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("cron", "minutes"),
    [
        ("*/10 * * * *", 10),
        ("30 * * * *", 60),
        ("* * * * *", 1),
        ("30 0-23 * * *", 60),
        ("30 */1 * * *", 60),
        ("*/20 12-23,0-11 * * *", 20),
    ],
)
def test_every_so_many_minutes_goes_by_elapsed_time(zone: str, change: datetime, cron: str, minutes: int) -> None:
    rhythm, since = Rhythm(cron, time_zone=zone), change - timedelta(hours=4)
    found = [*rhythm.series(rhythm.after(since), change + timedelta(hours=4))]
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {minutes * MINUTE}


def test_clocks_that_are_set_back_at_midnight_repeat_the_last_hour_of_a_day() -> None:
    """The next match of the wall clock is a year away; the same hour comes once more at once."""
    assert walls("30 * 25 10 *", "Asia/Beirut", "2025-10-25T23:40+03:00", 1) == ["25 23:30+0200"]
    assert walls("30 23 25 10 *", "Asia/Beirut", "2025-10-25T23:40+03:00", 1) == ["25 23:30+0200"], "a year later"


@given(st.integers(10, 10_000_000), st.integers(0, 10**9))
def test_an_interval_does_not_drift(seconds: int, late: int) -> None:
    rhythm, now = Rhythm(interval_seconds=seconds), NOW + timedelta(milliseconds=late)
    following, latest = rhythm.upcoming(NOW, now), rhythm.latest(NOW, now)
    assert (following - NOW) % timedelta(seconds=seconds) == timedelta(0)
    assert latest <= now < following == latest + timedelta(seconds=seconds)


def test_a_due_time_ahead_stays() -> None:
    ahead = NOW + timedelta(minutes=7)
    assert Rhythm(interval_seconds=60).upcoming(ahead, NOW) == ahead
    assert Rhythm("* * * * *").upcoming(ahead, NOW) == ahead


def test_a_year_of_missed_minutes_is_passed_over_in_few_steps() -> None:
    assert Rhythm("* * * * *", time_zone="Europe/Paris").latest(NOW - timedelta(days=365), NOW + MINUTE / 2) == NOW


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        ({}, BadRhythm, "cron"),
        ({"cron": "* * * * *", "interval_seconds": 60}, BadRhythm, "cron"),
        ({"cron": ""}, BadCron, "cron"),
        ({"cron": "* * * *"}, BadCron, "cron"),
        ({"cron": "* * * * * *"}, BadCron, "cron"),
        ({"cron": "* * * * * * 2030"}, BadCron, "cron"),
        ({"cron": "@daily"}, BadCron, "cron"),
        ({"cron": "R * * * *"}, BadCron, "cron"),
        ({"cron": "0 r(1-3) * * *"}, BadCron, "cron"),
        ({"cron": "0 H * * *"}, BadCron, "cron"),
        ({"cron": "R/5 * * * *"}, BadCron, "cron"),
        ({"cron": "0 0 30 2 *"}, BadCron, "cron"),
        ({"cron": "0 0 31 4,6,9,11 *"}, BadCron, "cron"),
        ({"cron": "60 * * * *"}, BadCron, "cron"),
        ({"cron": "*/0 * * * *"}, BadCron, "cron"),
        ({"cron": "soon today or on monday"}, BadCron, "cron"),
        ({"cron": "\u0661 * * * *"}, BadCron, "cron"),
        ({"cron": "* * * * *\n"}, BadCron, "cron"),
        ({"cron": "0," * 60 + "0 * * * *"}, BadCron, "cron"),
        ({"interval_seconds": 9}, BadInterval, "interval_seconds"),
        ({"interval_seconds": 2**31}, BadInterval, "interval_seconds"),
        ({"interval_seconds": True}, BadInterval, "interval_seconds"),
        ({"interval_seconds": 60.5}, BadInterval, "interval_seconds"),
        ({"cron": "* * * * *", "time_zone": "Mars/Olympus"}, UnknownZone, "time_zone"),
        ({"cron": "* * * * *", "time_zone": "../../etc/passwd"}, UnknownZone, "time_zone"),
        ({"interval_seconds": 60, "time_zone": "localtime"}, UnknownZone, "time_zone"),
    ],
)
def test_a_wrong_rhythm_is_a_typed_error(wrong: dict[str, object], error: type[BadRhythm], field: str) -> None:
    with pytest.raises(error) as raised:
        Rhythm(**wrong).check(NOW)  # type: ignore[arg-type]
    assert raised.value.field == field


@pytest.mark.parametrize(
    "cron",
    ["*/5 8-18 * * MON-FRI", "0 0 1 jan *", "0 0 29 2 *", "0 9 * * 1#1", "0 0 L * *", "15,45 */2 1-7 * 0", "* * ? * *"],
)
def test_a_right_cron_line_is_taken(cron: str) -> None:
    Rhythm(cron).check(NOW)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text("0123456789*/,-#?LWRHlwrhFRIsunjan", min_size=1, max_size=6), min_size=5, max_size=5))
def test_whatever_people_type_is_taken_or_refused(fields: list[str]) -> None:
    rhythm = Rhythm(" ".join(fields))
    try:
        rhythm.check(NOW)
    except BadCron:
        return
    found = list(itertools.islice(rhythm.series(rhythm.after(NOW)), 3))
    assert all(earlier < later for earlier, later in itertools.pairwise(found))
