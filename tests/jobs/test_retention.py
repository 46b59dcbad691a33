"""What is over is forgotten some time later; what is not, never."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from jobs import task_types
from jobs.beat import Beat
from jobs.context import TaskContext
from jobs.models import Attempt, Entry, Task
from jobs.task_types import task_type
from tenants.clock import clock
from tests import look
from tests.factories import Cast
from tests.webapp import rows

DAY = 86_400


@pytest.fixture
def short() -> Iterator[None]:
    """A type whose tasks are kept for a day."""
    task_type("test.short", title="Short", retention_days=1)(_nothing)
    yield
    del task_types._registry["test.short"]


def test_old_tasks_go_with_their_attempts_and_lines(cast: Cast) -> None:
    old = rows.task(cast.acme, cast.ben, "failed", **_ended(31))
    rows.entry(old, cast.acme, "a line")
    young = rows.task(cast.acme, cast.ben, "failed", **_ended(29))
    foreign = rows.task(cast.initech, cast.zoe, "completed", **_ended(40))
    Beat(retention_days=30).forget()
    assert _left() == {young}
    assert look.scalar(select(func.count()).select_from(Entry)) == 0
    assert look.scalars(select(Attempt.task_id)) == [young]
    assert foreign not in _left()


def test_what_is_not_over_stays_however_old(cast: Cast) -> None:
    ages = {"created_at": clock(-99 * DAY), "next_try_at": clock(-99 * DAY)}
    kept = {rows.task(cast.acme, cast.ben, state, **ages) for state in ("pending", "paused", "running")}
    just_over = rows.task(cast.acme, cast.ben, "completed", created_at=clock(-99 * DAY))
    Beat(retention_days=30).forget()
    assert _left() == {*kept, just_over}


def test_a_type_may_have_a_time_of_its_own(cast: Cast, short: None) -> None:
    rows.task(cast.acme, cast.ben, "completed", task_type="test.short", **_ended(2))
    kept = rows.task(cast.acme, cast.ben, "completed", task_type="test.short", **_ended(0.5))
    other = rows.task(cast.acme, cast.ben, "completed", **_ended(2))
    Beat(retention_days=30).forget()
    assert _left() == {kept, other}


def test_a_unique_key_that_is_still_taken_keeps_its_task(cast: Cast) -> None:
    kept = rows.task(cast.acme, cast.ben, "completed", unique_key="x", unique_until=clock(DAY), **_ended(99))
    rows.task(cast.acme, cast.ben, "completed", unique_key="y", unique_until=clock(-DAY), **_ended(99))
    Beat(retention_days=30).forget()
    assert _left() == {kept}


def test_many_go_in_chunks(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.retention.CHUNK", 2)
    for _ in range(5):
        rows.task(cast.acme, cast.ben, "completed", **_ended(99))
    Beat(retention_days=30).forget()
    assert not _left()


def test_a_beat_without_time_leaves_the_other_businesses_to_the_next_one(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand businesses took 39 s of one beat, and nobody was woken meanwhile."""
    monkeypatch.setattr("jobs.beat._FORGET_SECONDS", 0.0)
    for business in (cast.acme, cast.globex, cast.initech):
        rows.task(business, cast.root, "completed", **_ended(99))
    beat, left = Beat(retention_days=30), []
    for _ in range(12):
        beat.forget()
        left.append(len(_left()))
    assert left[0] == 3, "it began with the firings"
    assert set(left) == {3, 2, 1, 0}, "one business a beat"


@pytest.mark.parametrize("days", [0, -1, "7", float("nan"), 40_000])
def test_a_retention_is_a_number_of_days(days: object) -> None:
    with pytest.raises(ValueError, match="retention_days must be days"):
        task_type("test.short", title="Short", retention_days=days)(_nothing)  # type: ignore[arg-type]


def _nothing(task: TaskContext) -> None: ...


def _ended(days: float) -> dict[str, object]:
    return {"created_at": clock(-days * DAY - 60), "ended_at": clock(-days * DAY)}


def _left() -> set[int]:
    return set(look.scalars(select(Task.id)))
