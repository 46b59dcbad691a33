"""Schedules: what people do with them, and what the Scheduler makes of due times. Time passes by moving `next_at`."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from jobs import firings, pauses, payloads, queue, redaction, rhythm, schedule_filters, schedules, task_types
from jobs.beat import Beat
from jobs.judge import Target
from jobs.models import Task
from jobs.schedule_filters import ScheduleFilter
from jobs.schedule_models import Firing, Schedule
from jobs.scheduler import BeatingScheduler
from jobs.schedules import Draft
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import Invalid, NotAllowed, NotFound
from tenants.models import AuditEntry
from tests import look
from tests.factories import Cast
from tests.servers import Valkey
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
KEY = "rq:scheduler:scheduled_jobs"
HOURLY = Draft("Every hour", "test.note", interval_seconds=3600)
MONDAYS = Draft(" Mondays ", "test.note", {"seconds": 0}, 5, cron="30  9 * * mon", time_zone="Europe/Paris")


def count(table: type[Any] = Task) -> int:
    return look.scalar(select(func.count()).select_from(table)) or 0


def outcomes(id_: int) -> list[str]:
    return look.scalars(select(Firing.outcome).where(Firing.schedule_id == id_).order_by(Firing.due_at))


def row(id_: int) -> Schedule:
    with transaction(read_only=True) as session:
        return session.get_one(Schedule, id_)


def make(db: Session, cast: Cast, *, late: float | None = 1.0, **draft: Any) -> int:
    """An hourly schedule of Ada's that is late by so many seconds."""
    new = schedules.create(db, cast.ada, Draft(**{**vars(HOURLY), **draft}))
    db.commit()
    if late is not None:
        move(db, new.id, late)
    return new.id


def move(db: Session, id_: int, late: float) -> None:
    db.execute(update(Schedule).where(Schedule.id == id_).values(next_at=clock(-late)))
    db.commit()


def fire(id_: int) -> datetime | None:
    with transaction(claims=True) as session:
        return firings.fire(session, id_)


def finish_tasks(db: Session) -> None:
    db.execute(update(Task).values(state="completed", ended_at=clock()))
    db.commit()


def acts(db: Session) -> list[tuple[str, str]]:
    return [(one.act, one.subject) for one in db.scalars(select(AuditEntry).order_by(AuditEntry.id))]


def scheduler(beat: Beat | None = None) -> BeatingScheduler:
    return BeatingScheduler(queue.connection(), beat or Beat(), 0.3)


def lead_for_a_beat() -> None:
    """A scheduler comes, leads for one beat and goes."""
    one = scheduler()
    one.run(burst=True)
    one.remove_lock()


# People


def test_a_new_schedule_is_due_after_now_by_its_rhythm(db: Session, cast: Cast) -> None:
    one = schedules.create(db, cast.ada, MONDAYS)
    db.commit()
    made = row(one.id)
    assert (made.title, made.cron, made.priority, made.enabled) == ("Mondays", "30 9 * * mon", 5, True)
    assert (made.business_id, made.created_by) == (cast.acme.id, cast.ada.user.id)
    due = schedules.next_firings(db, cast.ada, one.id)
    assert due[0] == made.next_at
    assert len(due) == 5
    assert {later - earlier for earlier, later in itertools.pairwise(due)} <= {
        timedelta(hours=hours) for hours in (167, 168, 169)
    }
    assert acts(db) == [("create", f"schedule:{one.id}")]


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        ({"title": "  "}, Invalid, "title"),
        ({"title": "x" * 201}, Invalid, "title"),
        ({"title": "NUL \x00"}, Invalid, "title"),
        ({"task_type": "no.such"}, task_types.UnknownTaskType, "task_type"),
        ({"payload": {"second": 1}}, payloads.BadPayload, "payload"),
        ({"priority": 2**31}, Invalid, "priority"),
        ({"interval_seconds": None}, rhythm.BadRhythm, "cron"),
        ({"cron": "* * * * *"}, rhythm.BadRhythm, "cron"),
        ({"interval_seconds": 9}, rhythm.BadInterval, "interval_seconds"),
        ({"interval_seconds": None, "cron": "0 0 30 2 *"}, rhythm.BadCron, "cron"),
        ({"interval_seconds": None, "cron": 5}, rhythm.BadCron, "cron"),
        ({"time_zone": "Mars/Olympus"}, rhythm.UnknownZone, "time_zone"),
        ({"time_zone": ["UTC"]}, rhythm.UnknownZone, "time_zone"),
        ({"title": 5}, Invalid, "title"),
        ({"enabled": "yes"}, Invalid, "enabled"),
        ({"enabled": None}, Invalid, "enabled"),
        ({"catch_up": "some"}, Invalid, "catch_up"),
        ({"overlap": "kill"}, Invalid, "overlap"),
        ({"catch_up": "all"}, Invalid, "overlap"),
    ],
)
def test_bad_input_is_a_typed_error_and_changes_nothing(
    db: Session, cast: Cast, wrong: dict[str, Any], error: type[Invalid], field: str
) -> None:
    standing = make(db, cast, late=None)
    before = vars(Draft.of(row(standing)))
    draft = Draft(**{**vars(HOURLY), **wrong})
    for act in (
        lambda: schedules.create(db, cast.ada, draft),
        lambda: schedules.edit(db, cast.ada, standing, draft),
        lambda: schedules.preview(db, cast.ada, draft),
    ):
        with pytest.raises(error) as raised:
            act()
        assert raised.value.field == field
    db.commit()
    assert (count(Schedule), vars(Draft.of(row(standing)))) == (1, before)


def test_members_and_outsiders_have_no_part_in_schedules(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, late=None)
    writes = [schedules.enable, schedules.disable, schedules.delete, schedules.run_now]
    reads = [schedules.get, schedules.next_firings, schedules.firings]
    with pytest.raises(NotFound):
        schedules.get(db, cast.ada, 2**40)
    for by, error in ((cast.ben, NotAllowed), (cast.zoe, NotFound)):
        for act in (*writes, *reads):
            with pytest.raises(error):
                act(db, by, id_)
        with pytest.raises(error):
            schedules.edit(db, by, id_, HOURLY)
    for refused in (schedules.create, schedules.preview):
        with pytest.raises(NotAllowed):
            refused(db, cast.ben, HOURLY)
    with pytest.raises(NotAllowed):
        schedule_filters.search(db, cast.ben, ScheduleFilter())
    assert schedule_filters.search(db, cast.zoe, ScheduleFilter()).total == 0
    assert schedules.get(db, cast.root, id_).id == id_
    assert (count(Schedule), count()) == (1, 0)


def test_an_edit_keeps_a_secret_whose_mask_was_left_standing(db: Session, cast: Cast) -> None:
    secret = {"password": "canary-1", "how": "return"}
    id_ = make(db, cast, late=None, task_type="test.secret", payload=secret)
    shown = {**redaction.masked("test.secret", row(id_).payload), "how": "retry"}
    draft = Draft(**{**vars(HOURLY), "task_type": "test.secret", "payload": shown})
    schedules.edit(db, cast.ada, id_, draft)
    db.commit()
    assert row(id_).payload == {"password": "canary-1", "how": "retry"}
    assert "canary" not in str(look.rows(select(AuditEntry.before, AuditEntry.after)))
    with pytest.raises(payloads.BadPayload, match="hidden value"):
        schedules.create(db, cast.ada, draft)


def test_an_edit_keeps_the_due_time_unless_the_rhythm_changes(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, late=100)
    was_due = row(id_).next_at
    schedules.edit(db, cast.ada, id_, Draft(**{**vars(HOURLY), "title": "Renamed"}))
    db.commit()
    assert (row(id_).title, row(id_).next_at) == ("Renamed", was_due)
    schedules.edit(db, cast.ada, id_, MONDAYS)
    db.commit()
    assert row(id_).next_at == schedules.preview(db, cast.ada, MONDAYS)[0]
    schedules.edit(db, cast.ada, id_, Draft(**{**vars(MONDAYS), "enabled": False}))
    db.commit()
    assert (row(id_).next_at, schedules.next_firings(db, cast.ada, id_)) == (None, [])


def test_a_disabled_schedule_does_not_fire_and_an_enabled_one_starts_after_now(db: Session, cast: Cast) -> None:
    id_ = make(db, cast)
    for _ in range(2):
        schedules.disable(db, cast.ada, id_)
    db.commit()
    move(db, id_, 1)  # as a scheduler may see it that read the row before
    assert fire(id_) is None
    assert (count(), count(Firing)) == (0, 0)
    for _ in range(2):
        schedules.enable(db, cast.ada, id_)
    db.commit()
    following = row(id_).next_at
    assert following is not None
    assert timedelta(minutes=59) < following - datetime.now(UTC) < timedelta(minutes=61)
    assert [act for act, _ in acts(db)] == ["create", "disable", "enable"]


def test_a_deleted_schedule_takes_its_firings_along_and_leaves_its_tasks(db: Session, cast: Cast) -> None:
    id_ = make(db, cast)
    fire(id_)
    schedules.delete(db, cast.ada, id_)
    db.commit()
    assert (count(Schedule), count(Firing), count()) == (0, 0, 1)
    assert fire(id_) is None
    with pytest.raises(NotFound):
        schedules.delete(db, cast.ada, id_)
    assert acts(db)[-1] == ("delete", f"schedule:{id_}")


def test_run_now_makes_a_task_of_the_person_and_leaves_the_rhythm(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, late=None, payload={"seconds": 1}, priority=3)
    before = row(id_).next_at
    task_id = schedules.run_now(db, cast.ada, id_)
    db.commit()
    task = look.task(task_id)
    assert (task.user_id, task.title, task.payload, task.priority) == (
        cast.ada.user.id,
        "Every hour",
        {"seconds": 1},
        3,
    )
    assert row(id_).next_at == before
    (firing,) = schedules.firings(db, cast.ada, id_)
    assert (firing.outcome, firing.task and firing.task.id) == ("fired", task_id)
    move(db, id_, 1)
    fire(id_)
    assert sorted(outcomes(id_)) == ["fired", "skipped"], "its task is unfinished"


def test_a_list_shows_each_schedule_with_its_last_firing(db: Session, cast: Cast) -> None:
    names = ["Åsa's report", "backup", "Clean"]
    ids = [make(db, cast, title=name, late=None) for name in names]
    other = make(db, cast, title="Something", task_type="test.other", late=None)
    schedules.disable(db, cast.ada, ids[1])
    for at in (50, 1):
        move(db, ids[2], at)
        fire(ids[2])

    def titles(**args: str) -> list[str]:
        found = schedule_filters.search(db, cast.ada, ScheduleFilter.from_args(args))
        return [one.schedule.title for one in found.rows]

    assert titles() == ["backup", "Clean", "Something", "Åsa's report"]
    assert titles(sort="-created")[0] == "Something"
    assert titles(sort="next")[-1] == "backup", "what is not due comes last"
    assert titles(sort="-next")[-1] == "backup"
    assert titles(q="åSA") == ["Åsa's report"]
    assert titles(q="something else", sort="type") == ["Something"], "by the title of its type"
    assert titles(q="%") == titles(page="2") == []
    page = schedule_filters.search(db, cast.ada, ScheduleFilter(q="clean"))
    assert [(one.last.outcome, one.last.task.state) for one in page.rows if one.last and one.last.task] == [
        ("skipped", "pending")
    ]
    assert (page.total, page.pages, other > 0) == (1, 1, True)
    wanted = ScheduleFilter("a", "next", descending=True, page=3)
    assert ScheduleFilter.from_args(wanted.args()) == wanted
    assert wanted.args(q="b") == {"q": "b", "sort": "-next"}
    assert ScheduleFilter.from_args({"sort": "-nothing", "page": "²"}) == ScheduleFilter()


def test_the_audit_log_keeps_no_values_of_a_payload(db: Session, cast: Cast) -> None:
    make(db, cast, task_type="test.fail", payload={"text": "secret-canary"}, late=None)
    (entry,) = db.scalars(select(AuditEntry)).all()
    assert entry.after
    assert "secret-canary" not in str(entry.after)
    assert entry.after["payload_keys"] == ["text"]


# Firing


def test_a_due_schedule_makes_one_task_of_the_scheduler(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, payload={"seconds": 0}, priority=4)
    due = row(id_).next_at
    assert due
    following = fire(id_)
    (task,) = [look.task(one) for one in look.scalars(select(Task.id))]
    assert (task.user_id, task.title, task.priority, task.payload) == (None, "Every hour", 4, {"seconds": 0})
    assert following == row(id_).next_at == due + timedelta(hours=1), "no drift"
    (firing,) = schedules.firings(db, cast.ada, id_)
    assert (firing.due_at, firing.outcome, firing.task_id) == (due, "fired", task.id)
    queue.flush()
    assert queue.turns_queued("default") == 1


def test_what_is_not_due_does_nothing_whatever_asks(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, late=-0.8 * 3600)
    assert fire(id_) == row(id_).next_at
    assert (count(), count(Firing)) == (0, 0)


def test_a_rollback_leaves_neither_task_nor_firing_nor_turn(db: Session, cast: Cast) -> None:
    id_ = make(db, cast)
    due = row(id_).next_at
    firings.fire(db, id_)
    db.rollback()
    queue.flush()
    assert (count(), count(Firing), row(id_).next_at, queue.turns_queued("default")) == (0, 0, due, 0)


def test_a_due_time_that_was_fired_is_not_fired_again(db: Session, cast: Cast) -> None:
    """As after a failover that lost the new due time, or when two schedulers fire at once without a lock."""
    id_ = make(db, cast, overlap="queue")
    due = row(id_).next_at
    fire(id_)
    db.execute(update(Schedule).where(Schedule.id == id_).values(next_at=due))
    db.commit()
    following = fire(id_)
    assert due
    assert (count(), outcomes(id_), following) == (1, ["fired"], due + timedelta(hours=1))


def test_two_schedulers_at_once_make_one_task_for_each_due_time(db: Session, cast: Cast) -> None:
    ids = [make(db, cast, overlap="queue") for _ in range(20)]
    gate, errors = threading.Barrier(4), []

    def lead() -> None:
        for id_ in ids:
            gate.wait()
            try:
                fire(id_)
            except Exception as error:  # noqa: BLE001 - this is what must not happen
                errors.append(error)

    threads = [threading.Thread(target=lead) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert [outcomes(id_) for id_ in ids] == [["fired"]] * 20
    assert count() == 20


@pytest.mark.parametrize("draft", [{}, {"interval_seconds": None, "cron": "*/30 * * * *"}])
def test_after_an_outage_one_firing_makes_up_for_all_missed_ones(db: Session, cast: Cast, draft: Any) -> None:
    id_ = make(db, cast, late=10 * 3600 + 100, overlap="queue", **draft)
    due = row(id_).next_at
    following = fire(id_)
    assert fire(id_) == following
    (firing,) = schedules.firings(db, cast.ada, id_)
    assert due
    assert following
    assert (count(), firing.outcome) == (1, "fired")
    assert firing.due_at < datetime.now(UTC) < following
    assert firing.due_at == firings.rhythm_of(row(id_)).latest(due, firing.fired_at), "the latest one"


def test_a_schedule_may_leave_missed_firings_out(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, late=10 * 3600 + 100, catch_up="none")
    due = row(id_).next_at
    following = fire(id_)
    (firing,) = schedules.firings(db, cast.ada, id_)
    assert due
    assert (count(), firing.outcome, firing.due_at) == (0, "missed", due + timedelta(hours=10))
    assert following == due + timedelta(hours=11)


def test_thirty_seconds_late_is_in_time(db: Session, cast: Cast) -> None:
    ids = [make(db, cast, late=late, catch_up="none") for late in (15, 40)]
    for id_ in ids:
        fire(id_)
    assert [outcomes(id_) for id_ in ids] == [["fired"], ["missed"]]
    after_missed = make(db, cast, late=3605, catch_up="none")
    fire(after_missed)
    assert outcomes(after_missed) == ["missed", "fired"], "the last one is in time"


def test_a_schedule_may_make_up_every_missed_firing_a_thousand_at_a_call(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, interval_seconds=10, late=15_005, catch_up="all", overlap="queue")
    first = row(id_).next_at
    following = fire(id_)
    assert first
    assert following == first + timedelta(seconds=10_000)
    assert count() == 1000
    following = fire(id_)
    assert following
    assert following > datetime.now(UTC)
    due = look.scalars(select(Firing.due_at).order_by(Firing.due_at))
    assert len(due) == count() >= 1501
    assert {later - earlier for earlier, later in itertools.pairwise(due)} == {timedelta(seconds=10)}
    assert set(outcomes(id_)) == {"fired"}
    assert len(set(look.scalars(select(Firing.task_id)))) == len(due)


@pytest.mark.parametrize("how", ["pending", "running", "paused", "final", "deleted"])
def test_a_firing_while_the_last_task_is_unfinished_is_skipped_and_recorded(db: Session, cast: Cast, how: str) -> None:
    id_ = make(db, cast)
    fire(id_)
    (task_id,) = look.scalars(select(Task.id))
    match how:
        case "running":
            claimed = {"state": "running", "claim_token": "t", "lease_until": clock(60)}
            db.execute(update(Task).values(**claimed))
        case "paused":
            pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "busy")
        case "final":
            finish_tasks(db)
        case "deleted":
            db.execute(text("DELETE FROM tasks"))
    db.commit()
    for _ in range(2):
        move(db, id_, 1)
        fire(id_)
    skipped = how in ("pending", "running", "paused")
    assert outcomes(id_) == ["fired", *(["skipped"] * 2 if skipped else ["fired", "skipped"])]
    in_the_way = {one.task_id for one in schedules.firings(db, cast.ada, id_) if one.outcome == "skipped"}
    assert skipped is (in_the_way == {task_id})


def test_a_run_now_that_ended_hides_no_task_that_is_unfinished(db: Session, cast: Cast) -> None:
    id_ = make(db, cast)
    fire(id_)
    (long_one,) = look.scalars(select(Task.id))
    quick = schedules.run_now(db, cast.ada, id_)
    db.execute(update(Task).where(Task.id == quick).values(state="completed", ended_at=clock()))
    db.commit()
    move(db, id_, 0)
    fire(id_)
    last, *_ = schedules.firings(db, cast.ada, id_)
    assert (last.outcome, last.task_id) == ("skipped", long_one)


def test_a_schedule_may_queue_what_overlaps(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, overlap="queue")
    for _ in range(3):
        move(db, id_, 1)
        fire(id_)
    assert (outcomes(id_), count()) == (["fired"] * 3, 3)


def test_one_that_no_longer_fits_shows_its_error_until_it_succeeds(db: Session, cast: Cast) -> None:
    bad, gone, good = (make(db, cast) for _ in range(3))
    db.execute(update(Schedule).where(Schedule.id == bad).values(payload={"second": 1}))
    db.execute(update(Schedule).where(Schedule.id == gone).values(task_type="of.last.year"))
    db.commit()
    lead_for_a_beat()
    assert [outcomes(id_) for id_ in (bad, gone, good)] == [["failed"], ["failed"], ["fired"]]
    assert "second" in str(row(bad).error)
    assert "of.last.year" in str(row(gone).error)
    (failed,) = schedules.firings(db, cast.ada, bad)
    assert (failed.task, failed.error) == (None, row(bad).error)
    with pytest.raises(payloads.BadPayload):
        schedules.run_now(db, cast.ada, bad)
    db.execute(update(Schedule).values(payload={"seconds": 0}, task_type="test.note", next_at=clock(-1)))
    db.commit()
    lead_for_a_beat()
    assert outcomes(bad) == ["failed", "fired"]
    assert [row(id_).error for id_ in (bad, gone)] == [None, None]


@pytest.mark.parametrize("column", [{"time_zone": "Mars/Olympus"}, {"cron": "0 0 30 2 *", "interval_seconds": None}])
def test_one_that_cannot_be_read_shows_its_error_and_stops_no_other(
    db: Session, cast: Cast, column: dict[str, Any]
) -> None:
    first, then = make(db, cast, late=20, interval_seconds=None, cron="* * * * *"), make(db, cast, late=10)
    due = row(first).next_at
    db.execute(update(Schedule).where(Schedule.id == first).values(**column))
    db.commit()
    lead_for_a_beat()
    assert [outcomes(id_) for id_ in (first, then)] == [["failed"], ["fired"]]
    broken = row(first)
    assert broken.error
    assert due
    assert broken.next_at
    assert broken.next_at > due + timedelta(minutes=30), "it is not tried at every beat"
    assert schedules.next_firings(db, cast.ada, first) == []
    db.commit()
    lead_for_a_beat()
    assert outcomes(first) == ["failed"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL refuses such a row
@pytest.mark.parametrize("written", ["0 o'clock", "", 5])
def test_one_whose_due_time_is_no_time_shows_its_error_and_stops_no_other(
    db: Session, cast: Cast, written: object
) -> None:
    first, broken, last = (make(db, cast) for _ in range(3))
    db.execute(text("UPDATE schedules SET next_at = :at WHERE id = :id"), {"at": written, "id": broken})
    db.commit()
    lead_for_a_beat()
    assert [outcomes(id_) for id_ in (first, broken, last)] == [["fired"], ["failed"], ["fired"]]
    assert row(broken).error
    assert row(broken).next_at > look.scalar(select(clock(1800))), "it is tried again in an hour"
    assert len(schedules.firings(db, cast.ada, broken)) == 1, "and its list can be read"


def test_old_firings_are_forgotten_but_for_the_last_and_those_of_unfinished_tasks(db: Session, cast: Cast) -> None:
    busy, quiet, rare = (make(db, cast, overlap="queue") for _ in range(3))
    for id_ in (busy, busy, busy, quiet, quiet, rare):
        move(db, id_, 1)
        fire(id_)
    first = min(look.scalars(select(Firing.task_id).where(Firing.schedule_id == busy)))
    db.execute(update(Task).where(Task.id != first).values(state="completed", ended_at=clock()))
    db.execute(update(Firing).values(fired_at=clock(-31 * 86_400)))
    db.execute(update(Firing).where(Firing.schedule_id == quiet).values(fired_at=clock(-29 * 86_400)))
    db.commit()
    Beat(retention_days=30).forget()
    kept = [[one.task_id for one in schedules.firings(db, cast.ada, id_)] for id_ in (busy, quiet, rare)]
    assert [len(one) for one in kept] == [2, 2, 1]
    assert first in kept[0]


def test_thousands_of_old_firings_go_in_one_beat_and_the_next_look_is_in_an_hour(db: Session, cast: Cast) -> None:
    id_ = make(db, cast)
    about = {"business_id": cast.acme.id, "schedule_id": id_, "outcome": "missed", "fired_at": clock(-40 * 86_400)}
    beat, since = Beat(), datetime(2026, 1, 1, tzinfo=UTC)
    db.execute(insert(Firing).values([{**about, "due_at": since + timedelta(minutes=n)} for n in range(2_500)]))
    db.commit()
    beat.forget()
    assert count(Firing) == 1
    fire(id_)
    beat.forget()
    assert count(Firing) == 2


def test_an_archived_business_takes_no_tasks(db: Session, cast: Cast) -> None:
    id_ = make(db, cast)
    cast.acme.archived_at = datetime.now(UTC)
    db.commit()
    lead_for_a_beat()
    assert fire(id_) is None
    assert (count(), count(Firing), queue.connection().zcard(KEY)) == (0, 0, 0)
    cast.acme.archived_at = None
    db.commit()
    fire(id_)
    assert count() == 1


# Entries


def test_entries_name_ids_only_and_are_made_from_the_rows(db: Session, cast: Cast) -> None:
    soon, later, off = make(db, cast, late=-30), make(db, cast, late=-900), make(db, cast, late=None)
    schedules.disable(db, cast.ada, off)
    db.commit()
    lead_for_a_beat()
    due = row(soon).next_at
    assert due
    assert queue.connection().zrange(KEY, 0, -1, withscores=True) == [(f"schedule-{soon}".encode(), due.timestamp())]
    queue.connection().flushall()
    move(db, later, 1)
    lead_for_a_beat()
    following = row(later).next_at
    assert following
    assert queue.connection().zscore(KEY, f"schedule-{later}") == following.timestamp(), "armed again"
    assert queue.connection().zscore(KEY, f"schedule-{soon}") == due.timestamp()
    assert count() == 1


def test_an_entry_is_only_a_hint_and_sql_says_what_is_due(db: Session, cast: Cast) -> None:
    id_ = make(db, cast, late=-900)
    gone = make(db, cast)
    schedules.delete(db, cast.ada, gone)
    db.commit()
    redis = queue.connection()
    redis.zadd(KEY, {f"schedule-{id_}": 1, f"schedule-{gone}": 1, "schedule-999999999": 1})
    assert set(scheduler().enqueue_jobs()) == {id_, gone, 999999999}
    due = row(id_).next_at
    assert due
    assert redis.zrange(KEY, 0, -1, withscores=True) == [(f"schedule-{id_}".encode(), due.timestamp())]
    assert count() == 0


def test_a_foreign_entry_is_laid_aside_and_never_run(db: Session, cast: Cast, tmp_path: Path) -> None:
    target, redis = tmp_path / "owned", queue.connection()
    foreign = Job.create("os.system", args=(f"touch {target}",), connection=redis)  # pickled
    foreign.save()
    poison = [
        foreign.id.encode(),
        b"\xff\x00",
        b"schedule-",
        b"schedule-0",
        b"schedule-1; drop",
        b"schedule-" + b"9" * 30,
    ]
    redis.zadd(KEY, dict.fromkeys(poison, 1))
    id_ = make(db, cast)
    lead_for_a_beat()
    assert outcomes(id_) == ["fired"]
    assert sorted(redis.zrange("sluice:scheduler:unreadable", 0, -1)) == sorted(poison)
    assert redis.zrange(KEY, 0, -1) == [f"schedule-{id_}".encode()]
    assert redis.keys("rq:queue:*") in ([], [b"rq:queue:default"])
    assert foreign.id.encode() not in redis.lrange("rq:queue:default", 0, -1)
    assert not target.exists()
    redis.delete(KEY)
    redis.set(KEY, "nonsense")
    move(db, id_, 1)
    finish_tasks(db)
    lead_for_a_beat()
    assert outcomes(id_) == ["fired", "fired"]


def test_a_beat_ends_when_the_lead_was_lost_in_its_middle(db: Session, cast: Cast) -> None:
    done: list[str] = []
    redis = queue.connection()

    def be_slow() -> None:
        done.append("slow")
        redis.set(BeatingScheduler.scheduler_lock_key, "another")  # ours ran out meanwhile

    one = scheduler(Beat([be_slow, lambda: done.append("never")]))
    one.run(burst=True)
    assert done == ["slow"]
    assert redis.get(BeatingScheduler.scheduler_lock_key) == b"another"
    make(db, cast)
    one.run(burst=True)
    assert (one.enqueue_jobs(), count()) == ([], 0), "who does not lead fires nothing"


def test_the_lock_is_renewed_between_repairs(db: Session, cast: Cast) -> None:
    redis, left = queue.connection(), []

    def be_slow() -> None:
        redis.pexpire(BeatingScheduler.scheduler_lock_key, 200)

    def see() -> None:
        left.append(redis.pttl(BeatingScheduler.scheduler_lock_key))

    scheduler(Beat([be_slow, see])).run(burst=True)
    assert left[0] > 1000


# Faults


def many(db: Session, cast: Cast, number: int, seconds: float) -> None:
    """Schedules that are due within the next `seconds`, one after the other."""
    rows = [
        {
            "business_id": cast.acme.id,
            "title": "One",
            "task_type": "test.note",
            "interval_seconds": 3600,
            "overlap": "queue",
        }
        for _ in range(number)
    ]
    db.execute(insert(Schedule), rows)
    first = db.scalar(select(func.min(Schedule.id)))
    db.execute(update(Schedule).values(next_at=clock((Schedule.id - first) * (seconds / number))))
    db.commit()


def fired() -> int:
    return look.scalar(select(func.count()).where(Firing.outcome == "fired")) or 0


def test_redis_is_flushed_while_two_lead_and_nothing_fires_twice(db: Session, cast: Cast, start: Start) -> None:
    redis = queue.connection()
    for _ in range(2):
        start("scheduler", BEAT_SECONDS="0.2")
    until(lambda: redis.get(BeatingScheduler.scheduler_lock_key))
    many(db, cast, 300, seconds=3.0)

    def flushed_often_enough() -> bool:
        redis.flushall()
        return fired() >= 300

    until(flushed_often_enough, seconds=30, every=0.05)
    assert (fired(), count(Firing), count()) == (300, 300, 300)
    assert len(set(look.scalars(select(Firing.task_id)))) == 300


def test_a_killed_leader_is_followed_and_every_due_time_fires_once(db: Session, cast: Cast, start: Start) -> None:
    redis, leader = queue.connection(), start("scheduler")
    lead = until(lambda: redis.get(BeatingScheduler.scheduler_lock_key))
    start("scheduler")
    many(db, cast, 200, seconds=5.0)
    until(lambda: fired() > 20)
    leader.kill()
    until(lambda: redis.get(BeatingScheduler.scheduler_lock_key) not in (None, lead))
    until(lambda: fired() == 200, seconds=20)
    assert (count(Firing), count()) == (200, 200)


def test_schedules_go_on_after_twelve_seconds_without_redis_and_an_empty_return(
    db: Session, cast: Cast, start: Start
) -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        redis = Valkey(Path(folder))
        process = start("scheduler", BEAT_SECONDS="0.3", REDIS_URL=redis.url)
        id_ = make(db, cast, catch_up="one")
        until(lambda: outcomes(id_) == ["fired"])
        finish_tasks(db)
        redis.stop()
        gone_at = time.monotonic()
        move(db, id_, 1)
        until(lambda: time.monotonic() - gone_at > 12)  # the fault itself: the stock loop is dead by now
        assert (outcomes(id_), process.poll()) == (["fired"], None)
        redis = Valkey(Path(folder))
        until(lambda: outcomes(id_) == ["fired", "fired"])
        with Redis.from_url(redis.url) as client:
            until(lambda: client.zscore(KEY, f"schedule-{id_}"))
        redis.stop()
