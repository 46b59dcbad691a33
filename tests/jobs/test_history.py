"""The history of a task: all that happened to it, in order, for those who may see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs import history, pauses, submit, tasks
from jobs.context import TaskContext
from jobs.history import Kind, Moment
from jobs.judge import Target
from jobs.models import Attempt, Entry, Task
from jobs.tasks import Changes
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import NotFound
from tenants.permissions import Actor
from tests import look
from tests.factories import Cast
from tests.waiting import until

Work = Callable[..., None]
BEN = "ben@example.com"


def timeline(by: Actor, id_: int, limit: int = 500) -> list[Moment]:
    with transaction(read_only=True) as session:
        return history.timeline(session, by, id_, limit)


def kinds(moments: list[Moment]) -> list[str]:
    return [one.kind.value for one in moments]


def attempt(work: Work) -> None:
    """Take turns until one more attempt has ended: on a busy machine a claim may be given back before it begins."""
    before = len(look.scalars(select(Attempt.id)))
    until(lambda: work("default") or len(look.scalars(select(Attempt.id))) > before)


def hurry(**values: object) -> None:
    """Let what waits for its next attempt be due now."""
    with transaction() as session:
        session.execute(update(Task).values(next_try_at=clock(), **values))


def pause(db: Session, by: Actor, user: Actor) -> int:
    one = pauses.pause(db, by, Target(by.business.id, user_id=user.user.id), "too loud")
    db.commit()
    return one.id


def test_a_task_that_simply_ran(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.talk", business="acme", user=BEN)
    attempt(work)
    moments = timeline(cast.ben, id_)
    assert kinds(moments) == ["submitted", "started", "step", "log", "log", "stopped", "ended"]
    first, started, *_, stopped, ended = moments
    assert (first.text, first.by, started.text) == ("Submitted", "Ben Ito", "Attempt 1 started")
    assert (stopped.outcome, stopped.attempt, ended.text) == ("completed", 1, "Completed")
    assert started.worker == stopped.worker == "here"
    assert started.pid == stopped.pid
    assert started.pid
    assert [one.at for one in moments] == sorted(one.at for one in moments)


def test_retries_a_pause_between_them_and_the_failure_at_last(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.poison", business="acme", user=BEN, payload={"how": "timedelta"})
    attempt(work)
    pause_id = pause(db, cast.ada, cast.ben)
    hurry()
    work("default")
    pauses.resume(db, cast.ada, pause_id)
    db.commit()
    attempt(work)
    hurry(max_attempts=3)
    attempt(work)
    moments = timeline(cast.ada, id_)
    told = [one.text for one in moments if one.kind not in (Kind.LOG, Kind.STEP)]
    assert told == [
        "Submitted",
        "Attempt 1 started",
        "Attempt 1: retry",
        "Waits for the next attempt",
        "Paused by Ada Lovelace: too loud",
        "Resumed by Ada Lovelace",
        "Attempt 2 started",
        "Attempt 2: retry",
        "Waits for the next attempt",
        "Attempt 3 started",
        "Attempt 3: failed",
        "Failed",
    ]
    held, resumed = (next(one for one in moments if one.kind is kind) for kind in (Kind.PAUSED, Kind.RESUMED))
    assert held.until == resumed.at
    assert [one.error for one in moments if one.kind is Kind.STOPPED] == ["later"] * 3


def test_an_edit_is_told_with_what_it_changed_and_a_canceling_with_who(db: Session, cast: Cast) -> None:
    start = datetime.now(UTC) + timedelta(days=2)
    id_ = submit("test.fail", business="acme", user=BEN, start_at=start)
    to = Changes(title="Sums", priority=5, start_at=None, payload={"text": "gone"})
    tasks.edit(db, cast.ada, id_, to)
    tasks.edit(db, cast.ada, id_, to)
    db.commit()
    tasks.delete(db, cast.ada, id_)
    db.commit()
    moments = timeline(cast.ben, id_)
    assert [one.text for one in moments] == [
        "Submitted",
        "Waits for its start time",
        "Edited by Ada Lovelace: title none → Sums, priority 0 → 5, payload (text)",
        "Canceled by Ada Lovelace: deleted",
    ]
    assert moments[1].until == look.task(id_).next_try_at
    assert moments[-1].by == "Ada Lovelace"


def test_what_others_note_of_a_task_stands_at_its_time(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.talk", business="acme")
    with transaction() as session:
        said = {"task_id": id_, "attempt": 0, "at": clock(), "kind": "event", "text": "Interrupt asked by Ada"}
        session.add(Entry(business_id=cast.acme.id, **said))
    attempt(work)
    moments = timeline(cast.ada, id_)
    assert kinds(moments)[:3] == ["submitted", "event", "started"]
    assert moments[1].text == "Interrupt asked by Ada"
    assert moments[0].by == "Scheduler"
    assert "Interrupt asked by Ada" not in [one.text for one in tasks.entries(db, cast.ada, id_)]


def test_a_pause_that_stands_has_no_end_and_one_from_before_begins_with_the_wait(db: Session, cast: Cast) -> None:
    pause(db, cast.ada, cast.ben)
    id_ = submit("test.note", business="acme", user=BEN)
    (submitted, held) = timeline(cast.ben, id_)
    assert (held.kind, held.by, held.until, held.at) == (Kind.PAUSED, "Ada Lovelace", None, submitted.at)


def test_pauses_of_others_ended_ones_and_a_pause_while_it_ran_are_not_its_history(
    db: Session, cast: Cast, work: Work
) -> None:
    pauses.resume(db, cast.ada, pause(db, cast.ada, cast.ben))
    db.commit()
    pause(db, cast.ada, cast.cleo)
    pauses.pause(db, cast.zoe, Target(cast.initech.id, task_type="test.talk"), "elsewhere")
    db.commit()
    id_ = submit("test.talk", business="acme", user=BEN)
    attempt(work)
    pause(db, cast.ada, cast.ben)
    assert Kind.PAUSED not in [one.kind for one in timeline(cast.ada, id_)]


def test_an_attempt_that_runs_has_begun_and_not_ended(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme")
    running = {"state": "running", "claim_token": "t", "lease_until": clock(60), "started_at": clock(), "attempts": 1}
    db.execute(update(Task).values(worker="w7", pid=7, **running))
    db.commit()
    (_, started) = timeline(cast.ada, id_)
    assert (started.kind, started.worker, started.pid) == (Kind.STARTED, "w7", 7)


def test_only_the_last_lines_are_told_and_everything_else_stays(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.talk", business="acme", payload={"lines": 20})
    attempt(work)
    moments = timeline(cast.ada, id_, limit=3)
    assert [one.text[:7] for one in moments if one.kind is Kind.LOG] == ["line 17", "line 18", "line 19"]
    assert [kinds(moments)[0], *kinds(moments)[-2:]] == ["submitted", "stopped", "ended"]


@pytest.mark.parametrize("who", ["zoe", "cleo"])
def test_who_may_not_see_the_task_finds_nothing(db: Session, cast: Cast, who: str) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    with pytest.raises(NotFound):
        timeline(getattr(cast, who), id_)


def test_a_workers_clock_that_is_an_hour_off_changes_nothing(
    db: Session, cast: Cast, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(hours=1)

    monkeypatch.setattr("jobs.context.datetime", Wrong)
    id_ = submit("test.talk", business="acme", payload={"seconds": 0.2})
    attempt(work)
    assert kinds(timeline(cast.ada, id_)) == ["submitted", "started", "step", "log", "log", "stopped", "ended"]
    (one,) = look.scalars(select(Attempt))
    said = look.scalars(select(Entry.at))
    soon = timedelta(milliseconds=100)
    assert one.started_at - soon < min(said) <= max(said) < one.ended_at


def test_clocks_that_disagree_do_not_mix_up_the_order(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.again", business="acme")
    until(lambda: work("default") or look.task(id_).state == "completed")
    with transaction() as session:
        session.execute(update(Attempt).where(Attempt.number == 2).values(started_at=clock(-60), ended_at=clock(-50)))
    told = [one.text for one in timeline(cast.ada, id_) if one.kind in (Kind.STARTED, Kind.STOPPED, Kind.ENDED)]
    assert told == ["Attempt 1 started", "Attempt 1: retry", "Attempt 2 started", "Attempt 2: completed", "Completed"]


def test_a_log_is_cut_at_the_tasks_limit_over_all_attempts_and_says_so(
    db: Session, cast: Cast, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.context._most_lines", lambda: 8)
    id_ = submit("test.open", business="acme", payload={"lines": 6, "retry": True})
    until(lambda: work("default") or look.task(id_).state == "completed")
    lines = [(one.attempt, one.text) for one in tasks.entries(db, cast.ada, id_)]
    assert [number for number, _ in lines] == [1] * 6 + [2] * 3
    assert lines[-1][1] == "The log is cut here: 8 lines of a task are kept."
    again = TaskContext(1, 3, "acme", None)
    again.begin(at=datetime.now(UTC), monotonic=0.0, said=len(lines), redact=str)
    again.log("more")
    assert again.news() is None


def test_the_same_task_tells_the_same_history_twice(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.talk", business="acme")
    attempt(work)
    first, second = timeline(cast.ada, id_), timeline(cast.ada, id_)
    assert first == [replace(one) for one in second]
