"""Pauses in the engine: what stops, what goes on, and who is never touched."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select, update
from sqlalchemy.orm import Session

from jobs import choices, pauses, settling, submit, task_types
from jobs.beat import Beat
from jobs.choices import Choice, Impact, TooMany, UnknownThere
from jobs.judge import Standing, Target
from jobs.models import Attempt, Pause, Task
from jobs.pauses import NoReason
from jobs.schedule_models import Schedule
from tenants import members
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import Invalid, NotAllowed, NotFound
from tenants.models import AuditEntry, Business
from tests import look
from tests.factories import Cast
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Work = Callable[..., None]
BEN = "ben@example.com"


def states(ids: list[int]) -> list[str]:
    found = dict(map(tuple, look.rows(select(Task.id, Task.state).where(Task.id.in_(ids)))))
    return [found[id_] for id_ in ids]


def test_a_paused_users_tasks_stop_and_everybody_elses_go_on(db: Session, cast: Cast, work: Work) -> None:
    bens, cleos = (
        submit("test.note", business="acme", user=BEN),
        submit("test.note", business="acme", user="cleo@example.com"),
    )
    schedulers, globex = (
        submit("test.note", business="acme"),
        submit("test.note", business="globex", user="ada@example.com"),
    )
    pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "floods the queue")
    db.commit()
    later = submit("test.note", business="acme", user=BEN)
    work()
    assert states([bens, later]) == ["paused", "pending"]
    assert states([cleos, schedulers, globex]) == ["completed"] * 3
    Beat().settle()
    assert states([bens, later]) == ["paused", "paused"]


def test_a_paused_type_stops_for_the_scheduler_too_and_other_types_go_on(db: Session, cast: Cast, work: Work) -> None:
    bens, schedulers = submit("test.note", business="acme", user=BEN), submit("test.note", business="acme")
    other = submit("test.other", business="acme", user=BEN)
    pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "misbehaves")
    db.commit()
    work()
    assert states([bens, schedulers, other]) == ["paused", "paused", "completed"]


def test_user_and_type_together_stop_only_that_combination(db: Session, cast: Cast, work: Work) -> None:
    both, other_type = submit("test.note", business="acme", user=BEN), submit("test.other", business="acme", user=BEN)
    other_user, scheduler = (
        submit("test.note", business="acme", user="cleo@example.com"),
        submit("test.note", business="acme"),
    )
    pauses.pause(db, cast.ada, Target(cast.acme.id, cast.ben.user.id, "test.note"), "just these")
    db.commit()
    work()
    assert states([both, other_type, other_user, scheduler]) == ["paused"] + ["completed"] * 3


def test_more_pauses_of_users_and_types_than_a_statement_may_name_hold_just_those(
    db: Session, cast: Cast, work: Work
) -> None:
    """SQLite takes no expression that is nested a thousand deep, and PostgreSQL would plan for seconds."""
    names = ["test.note", *(f"test.gone_{number}" for number in range(1_100))]
    db.add_all(Pause(**vars(Target(cast.acme.id, cast.ben.user.id, name)), reason="each alone") for name in names)
    db.commit()
    both, other_type = submit("test.note", business="acme", user=BEN), submit("test.other", business="acme", user=BEN)
    cleos, scheduler = (
        submit("test.note", business="acme", user="cleo@example.com"),
        submit("test.note", business="acme"),
    )
    work()
    Beat().settle()
    assert states([both, other_type, cleos, scheduler]) == ["paused"] + ["completed"] * 3


def test_a_pause_stays_inside_its_business(db: Session, cast: Cast, work: Work) -> None:
    acme = submit("test.note", business="acme", user=BEN)
    pauses.pause(db, cast.zoe, Target(cast.initech.id, task_type="test.note"), "too loud")
    db.commit()
    work()
    assert states([acme]) == ["completed"]


def test_a_system_wide_pause_covers_every_business_and_only_platform_admins_end_it(
    db: Session, cast: Cast, work: Work
) -> None:
    ids = [submit("test.note", business=slug) for slug in ("acme", "globex", "initech")]
    with pytest.raises(NotAllowed):
        pauses.pause(db, cast.ada, Target(None, task_type="test.note"), "all of it")
    db.rollback()
    everywhere = pauses.pause(db, cast.root, Target(None, task_type="test.note"), "vendor outage")
    mine = pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "mine")
    db.commit()
    work()
    Beat().settle()
    assert states(ids) == ["paused"] * 3
    resumed = pauses.resume_all(db, cast.ada)
    db.commit()
    assert (resumed.pauses, resumed.released, resumed.still_paused) == (1, 0, 1)
    assert (everywhere.ended_at, mine.ended_by) == (None, cast.ada.user.id)
    with pytest.raises(NotAllowed):
        pauses.resume(db, cast.ada, everywhere.id)
    db.rollback()
    pauses.resume(db, cast.root, everywhere.id)
    db.commit()
    Beat().settle()
    work()
    assert states(ids) == ["completed"] * 3


def test_repeating_a_pause_answers_the_first(db: Session, cast: Cast) -> None:
    target = Target(cast.acme.id, task_type="test.note")
    first = pauses.pause(db, cast.ada, target, "one")
    db.commit()
    again = pauses.pause(db, cast.ada, target, "two")
    db.commit()
    assert (again.id, again.reason) == (first.id, "one")
    assert look.scalar(select(func.count()).select_from(Pause)) == 1


def test_of_two_who_resume_at_once_one_leaves_a_trace(db: Session, cast: Cast) -> None:
    standing = pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "too loud")
    db.commit()
    db.refresh(standing)
    db.commit()
    with transaction() as other:
        pauses.resume(other, cast.root, standing.id)
    assert standing.ended_at is None, "as Ada saw it last"
    assert pauses.resume(db, cast.ada, standing.id).ended_by == cast.root.user.id
    db.commit()
    assert look.scalar(select(func.count()).where(AuditEntry.act == "resume")) == 1


def test_overlapping_pauses_are_independent(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    of_ben = pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "ben")
    of_type = pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "type")
    db.commit()
    pauses.resume(db, cast.ada, of_ben.id)
    db.commit()
    work()
    assert states([id_]) == ["paused"]
    pauses.resume(db, cast.ada, of_type.id)
    db.commit()
    work()
    assert states([id_]) == ["completed"]


def test_a_resume_keeps_the_order_and_costs_no_attempt(db: Session, cast: Cast, work: Work) -> None:
    ids = [submit("test.note", business="acme", user=BEN, priority=priority) for priority in (1, 3, 2)]
    one = pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "wait")
    db.commit()
    before = dict(map(tuple, look.rows(select(Task.id, Task.next_try_at))))
    pauses.resume(db, cast.ada, one.id)
    db.commit()
    rows = look.scalars(select(Task).order_by(*Task.claim_order()))
    assert [row.id for row in rows] == [ids[1], ids[2], ids[0]]
    assert {row.state for row in rows} == {"pending"}
    assert [row.attempts for row in rows] == [0, 0, 0]
    assert {row.id: row.next_try_at for row in rows} == before


def test_a_pause_that_is_over_holds_nothing_even_before_anyone_ends_it(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    one = pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "for a while")
    db.commit()
    past = datetime.now(UTC) - timedelta(seconds=1)
    db.execute(update(Pause).where(Pause.id == one.id).values(until=past))
    db.commit()
    Beat().settle()
    work()
    assert states([id_]) == ["completed"]
    Beat().end_expired_pauses()
    db.refresh(one)
    assert one.ended_at == one.until


def test_a_pause_with_an_end_is_over_by_the_databases_clock_and_the_beat_starts_its_tasks(
    db: Session, cast: Cast, start: Start
) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    soon = look.scalar(select(clock(1.0)))
    one = pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "for a second", until=soon)
    again = pauses.pause(
        db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "longer", until=soon + timedelta(hours=1)
    )
    db.commit()
    assert (again.id, again.until) == (one.id, soon)
    start("worker")
    start("scheduler")
    until(lambda: states([id_]) == ["completed"])
    [began_at] = look.scalars(select(Attempt.started_at))
    assert began_at >= soon
    until(lambda: look.scalar(select(Pause.settled_at)))
    db.refresh(one)
    assert (one.ended_at, one.ended_by) == (soon, None)


@pytest.mark.parametrize("end", [datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1)])  # noqa: DTZ001
def test_a_pause_ends_at_a_time_with_a_zone_in_the_future(db: Session, cast: Cast, end: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "why not", until=end)
    assert refused.value.field == "until"


def test_what_arrives_under_a_pause_is_held_and_leaves_with_it(db: Session, cast: Cast, work: Work) -> None:
    one = pauses.pause(db, cast.ada, Target(cast.acme.id, cast.ben.user.id, "test.note"), "just these")
    db.commit()
    held, other = submit("test.note", business="acme", user=BEN), submit("test.other", business="acme", user=BEN)
    work()
    assert states([held, other]) == ["pending", "completed"]
    Beat().settle()
    late = submit("test.note", business="acme", user=BEN)
    work()
    assert states([held, late]) == ["paused", "pending"]
    pauses.resume(db, cast.ada, one.id)
    db.commit()
    work()
    assert states([held, late]) == ["completed"] * 2


def test_a_preview_counts_what_a_pause_would_touch(db: Session, cast: Cast) -> None:
    for user in (BEN, BEN, "cleo@example.com", None):
        submit("test.note", business="acme", user=user)
    submit("test.other", business="acme", user=BEN)
    submit("test.note", business="initech", user="zoe@example.com")
    running, done = submit("test.note", business="acme", user=BEN), submit("test.note", business="acme", user=BEN)
    lease = {"claim_token": "t", "lease_until": clock(60)}
    db.execute(update(Task).where(Task.id == running).values(state="running", **lease))
    db.execute(update(Task).where(Task.id == done).values(state="completed"))
    for business in (cast.acme, cast.acme, cast.initech):
        db.add(Schedule(business_id=business.id, title="Nightly", task_type="test.note", cron="0 3 * * *"))
    db.commit()
    ben, note = cast.ben.user.id, "test.note"
    assert choices.impact(db, Choice((cast.ada,), types=(note,))) == Impact(4, 1, 2, 2)
    assert choices.impact(db, Choice((cast.ada,), users=(ben,))) == Impact(3, 1, 1, 0)
    assert choices.impact(db, Choice((cast.ada,), (ben,), (note,))) == Impact(2, 1, 1, 0)
    assert choices.impact(db, Choice((cast.ada,), (ben, cast.cleo.user.id), (note, "test.other"))) == Impact(4, 1, 2, 0)
    assert choices.impact(db, Choice((cast.ada, cast.zoe), types=(note,))) == Impact(5, 1, 3, 3)
    assert choices.impact(db, Choice((cast.root,), types=(note,), everywhere=True)) == Impact(5, 1, 3, 3)
    with pytest.raises(NotAllowed):
        choices.impact(db, Choice((cast.ada,), types=(note,), everywhere=True))
    with pytest.raises(NotAllowed):
        choices.impact(db, Choice((cast.ben,), types=(note,)))


def test_a_preview_of_many_is_capped_and_says_so(db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "ENOUGH", 2)
    for _ in range(3):
        submit("test.note", business="acme", user=BEN)
    found = choices.impact(db, Choice((cast.ada,), users=(cast.ben.user.id,)))
    assert (found, found.is_capped) == (Impact(2, 0, 1, 0), True)


def test_only_what_grew_counts_as_grown() -> None:
    seen = Impact(5, 1, 2, 0)
    assert Impact(5, 1, 2, 0).grown_since(seen) == []
    assert Impact(4, 2, 2, 0).grown_since(seen) == [], "a waiting task has begun"
    assert Impact(5, 2, 2, 0).grown_since(seen) == ["running"]
    assert Impact(6, 1, 3, 1).grown_since(seen) == ["waiting", "users", "schedules"]


def test_several_are_paused_in_several_businesses_or_none_is(db: Session, cast: Cast) -> None:
    in_globex = members.enter(db, cast.ada.user, "globex")
    ada, ben = cast.ada.user.id, cast.ben.user.id
    with pytest.raises(UnknownThere, match="Ben Ito is unknown in Globex"):
        choices.pause(db, Choice((cast.ada, in_globex), (ada, ben)), "both")
    with pytest.raises(TooMany):
        choices.pause(db, Choice((cast.ada,), tuple(range(1, 102))), "very many")
    db.rollback()
    assert look.scalar(select(func.count()).select_from(Pause)) == 0
    first = pauses.pause(db, cast.ada, Target(cast.acme.id, ada, "test.note"), "before")
    new, standing = choices.pause(db, Choice((cast.ada, in_globex), (ada,), ("test.note", "test.other")), "both")
    db.commit()
    assert [one.id for one in standing] == [first.id]
    assert sorted((one.business_id, one.task_type) for one in new) == [
        (cast.acme.id, "test.other"),
        (cast.globex.id, "test.note"),
        (cast.globex.id, "test.other"),
    ]


def test_only_who_made_pauses_takes_them_back(db: Session, cast: Cast) -> None:
    in_globex = members.enter(db, cast.ada.user, "globex")
    new, _ = choices.pause(db, Choice((cast.ada, in_globex), types=("test.note",)), "oops")
    roots = pauses.pause(db, cast.root, Target(cast.acme.id, task_type="test.other"), "mine")
    db.commit()
    ids = [one.id for one in new]
    for by, foreign in ((cast.root, ids), (cast.ada, [*ids, roots.id]), (cast.ada, [424242]), (cast.ada, [])):
        with pytest.raises(NotFound):
            pauses.take_back(db, by, foreign)
        db.rollback()
    for _ in range(2):
        pauses.take_back(db, cast.ada, ids)
        db.commit()
    assert look.scalars(select(Pause.id).where(Pause.ended_at.is_(None))) == [roots.id]
    entries = look.scalars(select(AuditEntry.business_id).where(AuditEntry.act == "resume"))
    assert sorted(entries) == sorted([cast.acme.id, cast.globex.id])


def test_people_are_told_of_pauses_that_concern_their_own_tasks(db: Session, cast: Cast) -> None:
    submit("test.note", business="acme", user=BEN)
    made = {
        name: pauses.pause(db, by, target, name).id
        for name, by, target in (
            ("his", cast.ada, Target(cast.acme.id, cast.ben.user.id)),
            ("his, of a type", cast.ada, Target(cast.acme.id, cast.ben.user.id, "test.other")),
            ("his type", cast.ada, Target(cast.acme.id, task_type="test.note")),
            ("another type", cast.ada, Target(cast.acme.id, task_type="test.other")),
            ("somebody else", cast.ada, Target(cast.acme.id, cast.cleo.user.id, "test.note")),
            ("everywhere", cast.root, Target(None, task_type="test.note")),
            ("elsewhere", cast.zoe, Target(cast.initech.id, task_type="test.note")),
        )
    }
    db.commit()
    told = {one.reason for one in pauses.in_force(db, cast.ben)}
    assert told == {"his", "his, of a type", "his type", "everywhere"}
    assert {one.reason for one in pauses.in_force(db, cast.ada)} == set(made) - {"elsewhere"}
    assert {one.reason for one in pauses.in_force(db, cast.ada, own=True)} == set()


def test_settling_twice_moves_nothing_more_and_goes_in_chunks(db: Session, cast: Cast) -> None:
    ids = [submit("test.note", business="acme", user=BEN, session=db) for _ in range(25)]
    db.commit()
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="found in the registry"))
    db.commit()
    moved = []
    for _ in range(4):
        moved.append(settling.settle(db, cast.acme.id, chunk=10))
        db.commit()
    assert moved == [10, 10, 5, 0]
    assert set(states(ids)) == {"paused"}


def test_what_is_for_tomorrow_hides_no_paused_tasks_from_settling(db: Session, cast: Cast) -> None:
    """Else each claim would pass over all that Ben has waiting, for as long as his pause lasts."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for priority in (9, 5):
        for _ in range(3):
            submit("test.note", business="acme", user="cleo@example.com", priority=priority, start_at=tomorrow)
    bens = [submit("test.note", business="acme", user=BEN, priority=priority) for priority in (7, 7, 7, 0, 0, 0)]
    cleos = submit("test.note", business="acme", user="cleo@example.com")
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    db.commit()
    settling.settle_until(time.monotonic() + 60, cast.acme.id, chunk=2)
    assert states([*bens, cleos]) == ["paused"] * 6 + ["pending"]


def test_a_pause_of_the_whole_installation_costs_the_beat_nothing_where_nothing_waits(
    db: Session, engine: Engine, cast: Cast
) -> None:
    db.add_all([Business(slug=f"quiet-{number}", name="Quiet") for number in range(100)])
    db.add(Pause(task_type="test.note", reason="everywhere"))
    db.commit()
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *about: asked.append(about[2]))
    beat = Beat()
    beat.settle()
    beat.wake_ready()
    assert len(asked) < 100


def test_a_beat_settles_for_half_a_second_and_the_next_one_goes_on_there(db: Session, cast: Cast) -> None:
    businesses = [Business(slug=f"busy-{number}", name="Busy") for number in range(60)]
    db.add_all([*businesses, Pause(task_type="test.note", reason="everywhere")])
    db.flush()
    db.add_all([Task(business_id=one.id, task_type="test.note", queue="default") for one in businesses])
    db.commit()
    beat = Beat()
    beat.settle()
    marked = select(func.count()).where(Task.state == "paused")
    assert 0 < look.scalar(marked) < 60, "there is a gap of 10 ms between two chunks"
    while look.scalar(marked) < 60:
        before = look.scalar(marked)
        beat.settle()
        assert look.scalar(marked) > before


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target(1), Invalid),
        (Target(1, task_type="no.such"), task_types.UnknownTaskType),
        (Target(1, user_id=999_999), NotFound),
    ],
)
def test_a_pause_is_about_somebody_and_something_known(
    db: Session, cast: Cast, target: Target, error: type[Exception]
) -> None:
    with pytest.raises(error):
        pauses.pause(db, cast.ada, Target(cast.acme.id, target.user_id, target.task_type), "why not")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_pause_needs_a_reason(db: Session, cast: Cast, reason: str) -> None:
    with pytest.raises(NoReason):
        pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), reason)


def test_members_and_outsiders_pause_nothing(db: Session, cast: Cast) -> None:
    target = Target(cast.acme.id, task_type="test.note")
    with pytest.raises(NotAllowed):
        pauses.pause(db, cast.ben, target, "no")
    with pytest.raises(NotFound):
        pauses.pause(db, cast.zoe, target, "no")
    with pytest.raises(NotFound):
        pauses.pause(db, cast.zoe, Target(cast.initech.id, user_id=cast.ben.user.id), "not in Initech")
    one = pauses.pause(db, cast.ada, target, "yes")
    db.commit()
    with pytest.raises(NotFound):
        pauses.resume(db, cast.zoe, one.id)


def test_pause_and_resume_leave_a_trace(db: Session, cast: Cast) -> None:
    one = pauses.pause(db, cast.ada, Target(cast.acme.id, task_type="test.note"), "too loud")
    pauses.resume(db, cast.ada, one.id)
    pauses.resume(db, cast.ada, one.id)
    db.commit()
    acts = look.rows(select(AuditEntry.act, AuditEntry.user_id, AuditEntry.subject).order_by(AuditEntry.id))
    subject = f"pause:{one.id}"
    assert [tuple(act) for act in acts] == [("pause", cast.ada.user.id, subject), ("resume", cast.ada.user.id, subject)]


targets = st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([None, "test.note", "test.other"])).filter(any)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(targets, max_size=20))
def test_the_judge_says_the_same_in_sql_and_in_python(
    db: Session, cast: Cast, pairs: list[tuple[int | None, str | None]]
) -> None:
    db.rollback()
    people = [cast.ben.user.id, cast.cleo.user.id]
    if not look.scalar(select(Task.id).limit(1)):
        for user in (None, BEN, "cleo@example.com"):
            for type_ in ("test.note", "test.other"):
                submit(type_, business="acme", user=user, session=db)
        db.commit()
    standing = Standing(
        {n: Target(cast.acme.id, None if who is None else people[who], what) for n, (who, what) in enumerate(pairs, 1)}
    )
    covered = set(look.scalars(select(Task.id).where(standing.covering())))
    spared = set(look.scalars(select(Task.id).where(~standing.covering())))
    tasks = look.scalars(select(Task))
    assert covered == {task.id for task in tasks if standing.over(task.user_id, task.task_type)}
    assert covered | spared == {task.id for task in tasks}
    assert not covered & spared
