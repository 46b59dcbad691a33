"""Failed tasks are grouped by type and error, and counted; a group can be resolved and ignored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from jobs import failures, grouping, inline, lists
from jobs.beat import Beat
from jobs.failure_filters import SORTS, FailureFilter, FailureState
from jobs.failures import ChangedMeanwhile
from jobs.filters import TaskFilter, View
from jobs.models import Attempt, Failure, Task
from jobs.submitting import submit
from tenants import audit
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import NotAllowed, NotFound
from tests import look
from tests.factories import Cast
from tests.jobs.test_plans import fill, plan  # noqa: F401 - a fixture
from tests.webapp import rows

DAY = 86_400
OPEN, RESOLVED, IGNORED = FailureState


def fail(cast: Cast, error: str = "LookupError: gone", **values: object) -> int:
    """A task of Ben that failed with this error, as a worker would write it; answers its id."""
    return rows.task(cast.acme, cast.ben, "failed", error, **values)


def group() -> None:
    """As many beats as it takes: each has a moment for it."""
    while look.scalar(select(Task.id).where(Task.failure_id == 0).limit(1)):
        Beat().group_failures()


def groups() -> dict[str, int]:
    """Each group's error, with how often it happened."""
    return {failures.error_of(one): one.count for one in look.scalars(select(Failure))}


def only() -> Failure:
    """The one group that there is."""
    (found,) = look.scalars(select(Failure))
    return found


@pytest.mark.parametrize(
    ("one", "other", "even"),
    [
        ("Row 17 broken", "Row 18 broken", "Row # broken"),
        ("took 1.5 s, -3 left", "took 20.25 s, +4 left", "took # s, # left"),
        ("due 2026-11-21T10:30:00Z", "due 2026-11-22 11:30:00.5", None),
        ("at 0x7f3a2b", "at 0x11ff", "at #"),
        ("order 9b2f4c1e-0b7a-4c8e-9a57-0f1e2d3c4b5a", "order 00000000-1111-2222-3333-444444444444", "order #"),
        ("commit 9f8e7d6c5b", "commit 0a1b2c3d4e", "commit #"),
        ("token sk_live_9aF3kQz81LmN", "token sk_live_7bG4lRa92MnO", "token #"),
        ("host db-1.internal:5432", "host db-2.internal:6432", "host db-#.internal:#"),
        ("\n  first \t line 1\nsecond line", "first line 2\nanother second", "first line #"),
        ("naïve Größe 3 ≠ 4", "naïve Größe 5 ≠ 6", "naïve Größe # ≠ #"),
    ],
)
def test_messages_that_differ_in_numbers_and_ids_are_one(one: str, other: str, even: str | None) -> None:
    if even is not None:
        assert (grouping.evened(one), grouping.evened(other)) == (even, even)
    else:
        assert "2026" not in grouping.evened(one) + grouping.evened(other)


@pytest.mark.parametrize("word", ["no such file", "defaced facade", "•••", "", "ValueError"])
def test_words_stay_as_they_are(word: str) -> None:
    assert grouping.evened(word) == word


def test_a_long_message_is_cut_and_a_hostile_one_costs_no_time() -> None:
    assert len(grouping.evened("word " * 1000)) == 200
    for hostile in ("a" * 100_000, "1-" * 50_000, "-" * 100_000, "0x" * 50_000, "ab1_" * 30_000):
        assert len(grouping.evened(hostile)) <= 200


def test_what_workers_let_fail_is_grouped_at_the_next_beat(cast: Cast, work: Callable[..., None]) -> None:
    for said in ("row 17", "row 18", "row 19", "column 4"):
        submit("test.fail", business="acme", payload={"text": said})
    submit("test.note", business="acme")
    work()
    assert groups() == {}
    group()
    assert groups() == {"LookupError: row #": 3, "LookupError: column #": 1}
    Beat().group_failures()
    assert groups() == {"LookupError: row #": 3, "LookupError: column #": 1}, "a second time changes nothing"
    assert len(set(look.scalars(select(Task.failure_id)))) == 3, "what succeeded is in none"


def test_the_same_error_of_another_type_or_business_is_another_group(cast: Cast) -> None:
    fail(cast)
    fail(cast, task_type="script.execute")
    rows.task(cast.initech, cast.zoe, "failed")
    group()
    found = {(one.business_id, one.task_type) for one in look.scalars(select(Failure))}
    assert len(found) == 3


def test_each_way_to_fail_has_its_kind(cast: Cast, work: Callable[..., None]) -> None:
    inline.run_inline("test.fail", business="acme", payload={"text": "inline"})
    submit("test.again", business="acme", payload={"succeed_at": 9})
    submit("test.odd", business="acme", payload={"what": "nan"})
    work("default")
    work("default")
    work("default")
    lost, bare = fail(cast), fail(cast)
    with transaction() as session:
        attempt = session.scalars(select(Attempt).where(Attempt.task_id == lost)).one()
        attempt.outcome, attempt.error = "lost", "Its process ended at work: SIGKILL."
        session.execute(delete(Attempt).where(Attempt.task_id == bare))
    group()
    kinds = {(one.kind, one.message.partition(":")[0]) for one in look.scalars(select(Failure))}
    assert kinds == {
        ("LookupError", "inline"),
        ("", "not yet"),
        ("", "The result cannot be stored"),
        ("Lost", "Its process ended at work"),
        ("", ""),
    }


def test_the_last_attempt_says_what_went_wrong(cast: Cast) -> None:
    task = fail(cast, "ValueError: in the end", attempts=2)
    with transaction() as session:
        last = session.scalars(select(Attempt).where(Attempt.task_id == task)).one()
        last.number = 2
        about = {"business_id": cast.acme.id, "task_id": task, "number": 1, "outcome": "retry", "ended_at": clock()}
        session.add(Attempt(**about, error="ConnectionError: at first", traceback="Traceback: …"))
    group()
    assert groups() == {"ValueError: in the end": 1}


def test_first_and_last_are_when_tasks_failed_in_whatever_order_they_are_grouped(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.grouping.CHUNK", 1)
    tasks = [fail(cast, ended_at=clock(-days * DAY)) for days in (3, 9, 1)]
    group()
    times = [look.task(one).ended_at for one in tasks]
    found = only()
    assert (found.count, found.first_at, found.last_at) == (3, times[1], times[2])


def test_many_are_grouped_in_chunks_and_a_beat_goes_on_where_the_last_one_stopped(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.grouping.CHUNK", 2)
    monkeypatch.setattr("jobs.beat._GROUP_SECONDS", 0.0)
    for business, user in (
        (cast.acme, cast.ben),
        (cast.acme, cast.ben),
        (cast.acme, cast.ben),
        (cast.initech, cast.zoe),
    ):
        rows.task(business, user, "failed")
    beat = Beat()
    found = []
    for _ in range(4):
        beat.group_failures()
        found.append([one.count for one in look.scalars(select(Failure).order_by(Failure.business_id))])
    assert found == [[2], [2, 1], [3, 1], [3, 1]], "each business has its turn"


def test_what_is_resolved_is_open_again_when_it_fails_again(cast: Cast) -> None:
    fail(cast)
    group()
    change(cast, RESOLVED)
    fail(cast, error="ValueError: another")
    group()
    assert {one.kind: one.state for one in look.scalars(select(Failure))} == {
        "LookupError": RESOLVED,
        "ValueError": OPEN,
    }
    again = fail(cast, ended_at=clock(1))
    group()
    back = look.scalars(select(Failure).where(Failure.kind == "LookupError"))[0]
    assert (back.state, back.count, back.returned_at) == (OPEN, 2, look.task(again).ended_at)


def test_what_failed_before_it_was_resolved_does_not_open_it(cast: Cast) -> None:
    fail(cast, ended_at=clock(-60))
    group()
    late = fail(cast, ended_at=clock(-30))
    change(cast, RESOLVED)
    group()
    assert (only().state, only().count, only().returned_at) == (RESOLVED, 2, None)
    assert look.task(late).failure_id == only().id


def test_what_is_ignored_stays_so_however_often_it_fails(cast: Cast) -> None:
    fail(cast)
    group()
    change(cast, IGNORED)
    fail(cast, ended_at=clock(1))
    group()
    assert (only().state, only().count) == (IGNORED, 2)


def test_each_change_can_be_undone_and_is_in_the_audit_log_once(db: Session, cast: Cast) -> None:
    fail(cast)
    group()
    for to in (RESOLVED, RESOLVED, IGNORED, OPEN):
        change(cast, to)
    acts = [(one.act, one.before, one.after["state"]) for one in audit.search(db, cast.ada)[::-1]]
    assert acts == [
        ("resolve failure", {"state": "open"}, "resolved"),
        ("ignore failure", {"state": "resolved"}, "ignored"),
        ("reopen failure", {"state": "ignored"}, "open"),
    ]
    assert only().changed_by == cast.ada.user.id


def test_an_undo_does_not_undo_what_somebody_else_did_since(db: Session, cast: Cast) -> None:
    fail(cast)
    group()
    change(cast, RESOLVED)
    change(cast, IGNORED)
    with pytest.raises(ChangedMeanwhile):
        failures.change(db, cast.ada, only().id, OPEN, was=RESOLVED)


def test_nobody_else_sees_or_changes_them(db: Session, cast: Cast) -> None:
    auditor = rows.auditor(cast.acme)
    fail(cast)
    group()
    with pytest.raises(NotAllowed):
        failures.search(db, cast.ben, FailureFilter())
    with pytest.raises(NotAllowed):
        failures.change(db, cast.ben, only().id, RESOLVED)
    assert failures.search(db, cast.zoe, FailureFilter()).rows == []
    for id_ in (only().id, 10**17):
        with pytest.raises(NotFound):
            failures.change(db, cast.zoe, id_, RESOLVED)
    assert failures.search(db, auditor, FailureFilter()).rows
    with pytest.raises(NotAllowed):
        failures.change(db, auditor, only().id, RESOLVED)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_pages_go_through_all_groups_in_order_and_back(db: Session, cast: Cast, sort: str, sign: str) -> None:
    for number, kind in enumerate(("Zebra", "apple", "Éclair", "apple", "Mid", "mid", "Zebra")):
        for _ in range(number % 3 + 1):
            values = {"ended_at": clock(-number % 4 * DAY), "task_type": ("test.note", "script.execute")[number % 2]}
            fail(cast, f"{kind}: said{'x' * (number % 5)}", **values)
    group()
    wanted = FailureFilter.from_args({"sort": f"{sign}{sort}"})
    every = [one.id for one in failures.search(db, cast.ada, wanted).rows]
    assert len(every) == 7
    small = FailureFilter(sort=wanted.sort, descending=wanted.descending, size=2)
    page = failures.search(db, cast.ada, small)
    found, pages = [one.id for one in page.rows], [page]
    while page.older:
        page = failures.search(db, cast.ada, FailureFilter(**{**vars(small), "after": page.older}))
        found += [one.id for one in page.rows]
        pages.append(page)
    assert found == every
    for before in pages[-2::-1]:
        page = failures.search(db, cast.ada, FailureFilter(**{**vars(small), "before": page.newer or ""}))
        assert [one.id for one in page.rows] == [one.id for one in before.rows]
    key = {
        "type": lambda one: "run a script" if one.task_type == "script.execute" else "take a note",
        "error": lambda one: f"{one.kind}: {one.message}",
        "count": lambda one: one.count,
        "first": lambda one: one.first_at,
        "last": lambda one: one.last_at,
    }[sort]
    keys = [(key(one), one.id) for one in failures.search(db, cast.ada, wanted).rows]
    assert keys == sorted(keys, reverse=sign == "-") or sort == "type"


@pytest.mark.parametrize("cursor", ["x", "WzEsMV0", "WyJ4IiwxXQ", "W251bGwsbnVsbF0"])
def test_a_cursor_that_somebody_typed_breaks_nothing(db: Session, cast: Cast, cursor: str) -> None:
    fail(cast)
    group()
    for sort in SORTS:
        for where in ("after", "before"):
            failures.search(db, cast.ada, FailureFilter.from_args({"sort": sort, where: cursor}))


def test_the_tasks_of_a_group_can_be_searched_for(db: Session, cast: Cast) -> None:
    mine = [fail(cast, f"LookupError: row {number}") for number in range(3)]
    fail(cast, "ValueError: row 1")
    foreign = rows.task(cast.initech, cast.zoe, "failed")
    group()
    failure = look.task(mine[0]).failure_id

    def search(q: str, **args: str) -> list[int]:
        wanted = TaskFilter.from_args({"q": q, **args})
        return [row.task.id for row in lists.search(db, cast.ada, wanted).rows]

    assert search(f"failure:{failure}") == mine[::-1]
    assert search(f"failure:{failure}", sort="created", size="25") == mine
    assert search(f"failure:{failure} user:ben state:failed") == mine[::-1]
    assert search(f"failure:{failure} user:cleo") == []
    for none in (look.task(foreign).failure_id, "x", "", 10**30):
        assert search(f"failure:{none}") in ([], search(""))
    assert search(f"failure:{look.task(foreign).failure_id}") == []
    assert lists.search(db, cast.ada, TaskFilter(q=f"failure:{failure}")).total == 3


def test_a_list_tells_how_many_tasks_a_large_group_has(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.gathering.MOST", 2)
    monkeypatch.setattr("jobs.counting.LOOK", 3)
    for _ in range(7):
        fail(cast)
        rows.task(cast.acme, cast.ben, "completed")
    group()
    for view, total in ((View.HISTORY, 7), (View.ALL, 7), (View.ACTIVE, 0)):
        wanted = TaskFilter.from_args({"q": f"failure:{only().id}"}, view=view)
        page = lists.search(db, cast.ada, wanted)
        assert (len(page.rows), page.total, page.is_capped) == (total, total, False)
    counts = lists.counts(db, cast.ada, TaskFilter(q=f"failure:{only().id}", view=View.HISTORY))
    assert {state: one.number for state, one in counts.items() if one.number} == {None: 7, "failed": 7}
    assert not lists.search(db, cast.ada, TaskFilter(q=f"failure:{only().id} state:completed")).rows


def test_a_deleted_task_still_counts_and_an_old_group_goes_with_the_last_of_its_tasks(cast: Cast) -> None:
    task = fail(cast, ended_at=clock(-40 * DAY), created_at=clock(-20 * DAY))
    fail(cast, "ValueError: of another", ended_at=clock(-2 * DAY))
    group()
    Beat(retention_days=30).forget()
    assert len(groups()) == 2, "one of its tasks is there still"
    with transaction() as session:
        session.execute(delete(Task).where(Task.id == task))
    assert groups()["LookupError: gone"] == 1
    Beat(retention_days=30).forget()
    assert groups() == {"ValueError: of another": 1}


def test_what_is_ignored_is_never_forgotten(cast: Cast) -> None:
    fail(cast, ended_at=clock(-40 * DAY), created_at=clock(-41 * DAY))
    group()
    change(cast, IGNORED)
    Beat(retention_days=30).forget()
    assert look.scalar(select(func.count()).select_from(Task)) == 0
    assert only().state == IGNORED


def test_what_a_type_calls_secret_is_masked(cast: Cast, work: Callable[..., None]) -> None:
    submit("test.secret", business="acme", payload={"password": "hunter2-and-more", "how": "raise"})
    work()
    group()
    assert groups()
    assert "hunter" not in str(groups())


def change(cast: Cast, to: FailureState) -> None:
    """Ada changes the first group."""
    with transaction() as session:
        first = session.scalars(select(Failure.id).order_by(Failure.id)).first()
        assert first
        failures.change(session, cast.ada, first, to)


def test_several_at_once_count_each_task_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment two schedulers may think that they lead; meanwhile Ada resolves and ignores."""
    monkeypatch.setattr("jobs.grouping.CHUNK", 7)
    for number in range(120):
        fail(cast, f"LookupError: {'abc'[number % 3]}")
    with transaction() as session:
        grouping.group(session, cast.acme.id)

    def go_on(number: int) -> None:
        for _ in range(60):
            with transaction(claims=True) as session:
                grouping.group(session, cast.acme.id)
            with contextlib.suppress(ChangedMeanwhile), transaction() as session:
                first = session.scalars(select(Failure.id).order_by(Failure.id)).first() or 0
                failures.change(session, cast.ada, first, (IGNORED, RESOLVED)[number % 2])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go_on, range(4)))
    assert groups() == {"LookupError: a": 40, "LookupError: b": 40, "LookupError: c": 40}
    assert look.scalar(select(func.count()).where(Task.failure_id == 0)) == 0


def test_failures_are_found_by_their_own_index_and_nothing_else_uses_it(
    db: Session,
    cast: Cast,
    plan: Callable[..., str],  # noqa: F811
) -> None:
    """Half of 100,000 failed tasks are in one group, and the beat has the other half to do.

    The beat needs no statistics; lists do on PostgreSQL, for what was deleted.
    """
    fill(db, cast, "failed")
    db.execute(update(Task).where(Task.state == "failed").values(failure_id=Task.id % 2 * 7))
    db.commit()
    for act in (
        grouping.businesses,
        lambda session: grouping.group(session, cast.acme.id),
        lambda session: grouping.forget(session, cast.acme.id, 30),
    ):
        found = plan(act)
        assert "ix_tasks_failure" in found, found
        for bad in ("Seq Scan on tasks", "SCAN tasks"):
            assert bad not in found, found
    if db.get_bind().dialect.name == "postgresql":
        db.execute(text("ANALYZE tasks"))
        db.commit()
    of_group = TaskFilter.from_args({"q": "failure:7"}, view=View.HISTORY)
    assert "ix_tasks_failure" in plan(lambda session: lists.search(session, cast.ada, of_group))
    for view in View:
        for args in ({}, {"state": "failed"}, {"q": "state:failed"}, {"user": str(cast.ben.user.id)}):
            wanted = TaskFilter.from_args(args, view=view)
            found = plan(lambda session, wanted=wanted: lists.search(session, cast.ada, wanted))
            assert "ix_tasks_failure" not in found, f"{view} {args}\n{found}"
