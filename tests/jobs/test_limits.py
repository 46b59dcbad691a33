"""Limits: how many tasks of a business, or of a type in it, run at once. The witness is what handlers wrote."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from jobs import claims, judge, limits, queue, submit, task_types
from jobs.beat import Beat
from jobs.limits import BadLimit
from jobs.models import Limit, Task
from tenants.database import transaction
from tenants.errors import NotAllowed, NotFound
from tenants.models import AuditEntry
from tests import look
from tests.factories import Cast
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Notes = Callable[[], list[list[str]]]


def add(db: Session, business_id: int, number: int, *, task_type: str = "test.span", seconds: float = 0.02) -> None:
    row = {"business_id": business_id, "task_type": task_type, "queue": task_types.get(task_type).queue}
    db.execute(insert(Task), [{**row, "payload": {"seconds": seconds}} for _ in range(number)])
    db.commit()
    queue.wake_now(business_id, str(row["queue"]))


def most_at_once(notes: list[list[str]], business: str) -> int:
    """How many of a business's tasks ran at the same moment, at most."""
    at, most = 0, 0
    for _, whose, _, what, *_ in sorted(notes, key=lambda note: float(note[0])):
        if whose == business:
            at += {"began": 1, "ended": -1}[what]
            most = max(most, at)
    return most


def finished(business_id: int) -> int:
    return look.scalar(select(func.count()).where(Task.business_id == business_id, Task.state == "completed")) or 0


def claim(business_id: int, name: str = "default", limit: int = 1) -> list[str]:
    """The types of the tasks that one claim gets."""
    with transaction(claims=True) as session:
        judge.let_claims_pass(session, business_id)
        found = claims.claim(session, business_id, name, limit=limit, worker="here", lease_seconds=60)
    return [one.task_type for one in found]


def any_ready(business_id: int, name: str = "default") -> bool:
    with transaction(read_only=True) as session:
        return claims.any_ready(session, business_id, name)


@pytest.fixture
def four_workers(start: Start, notes: Notes) -> None:
    for _ in range(4):
        start("worker")
    start("scheduler")


def test_four_workers_run_two_tasks_of_a_business_at_once_and_never_more(
    db: Session, cast: Cast, four_workers: None, notes: Notes
) -> None:
    limits.set(db, cast.root, cast.acme.id, 2)
    db.commit()
    add(db, cast.acme.id, 40)
    until(lambda: finished(cast.acme.id) == 40, seconds=60)
    assert most_at_once(notes(), "acme") == 2
    add(db, cast.initech.id, 40, seconds=0.2)
    until(lambda: most_at_once(notes(), "initech") > 2)  # another business is not limited


def test_a_type_that_declares_a_limit_runs_alone_while_other_types_go_on(
    db: Session, cast: Cast, four_workers: None, notes: Notes
) -> None:
    add(db, cast.acme.id, 20, task_type="test.lone")
    add(db, cast.acme.id, 20, seconds=0.1)
    until(lambda: finished(cast.acme.id) == 40, seconds=60)
    lone = {str(id_) for id_ in look.scalars(select(Task.id).where(Task.task_type == "test.lone"))}
    seen = notes()
    assert most_at_once([note for note in seen if note[2] in lone], "acme") == 1
    assert most_at_once(seen, "acme") > 1


def test_a_place_that_gets_free_is_taken_at_once_by_the_other_queue_too(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    """No scheduler runs: whoever goes on was woken by the turn that ended."""
    limits.set(db, cast.root, cast.acme.id, 1)
    db.commit()
    add(db, cast.acme.id, 1, seconds=1.0)
    for _ in range(2):
        start("worker")
    until(notes)
    add(db, cast.acme.id, 3, task_type="test.aside")
    until(lambda: finished(cast.acme.id) == 4)
    assert most_at_once(notes(), "acme") == 1


def test_a_turn_that_has_more_to_do_than_one_long_task_calls_others_to_help(
    db: Session, cast: Cast, work: Callable[..., None], notes: Notes
) -> None:
    add(db, cast.acme.id, 2, seconds=1.0)
    queue.connection().flushall()
    turn = threading.Thread(target=work, args=("default",))
    turn.start()
    until(lambda: queue.turns_queued("default"))
    assert look.scalars(select(Task.state).order_by(Task.id)) == ["running", "pending"]
    turn.join()


def test_a_turn_that_has_many_short_tasks_calls_others_to_help(
    db: Session, cast: Cast, work: Callable[..., None], notes: Notes
) -> None:
    add(db, cast.acme.id, 100, seconds=0.005)
    queue.connection().flushall()
    turn = threading.Thread(target=work, args=("default",))
    turn.start()
    until(lambda: queue.turns_queued("default"))
    assert "pending" in look.scalars(select(Task.state))
    turn.join()


def test_a_place_that_a_turn_leaves_while_it_goes_on_with_another_type_is_offered_at_once(
    db: Session, cast: Cast, work: Callable[..., None], notes: Notes
) -> None:
    add(db, cast.acme.id, 2, task_type="test.lone", seconds=0.3)
    queue.connection().flushall()
    turn = threading.Thread(target=work, args=("aside",))
    turn.start()
    until(notes)
    time.sleep(0.1)  # it looks once whether others could help, and finds nobody's work
    db.add(long_one := Task(business_id=cast.acme.id, task_type="test.aside", queue="aside", priority=9))
    long_one.payload = {"seconds": 3.0}
    db.commit()
    until(lambda: queue.turns_queued("aside"))
    assert look.task(long_one.id).state == "running"
    turn.join()


def test_what_counts_are_turns_and_not_the_tasks_they_claimed(db: Session, cast: Cast) -> None:
    limits.set(db, cast.root, cast.acme.id, 2)
    for _ in range(30):
        submit("test.note", business="acme", session=db)
        submit("test.note", business="initech", session=db)
    db.commit()
    assert [len(claim(cast.acme.id, limit=5)) for _ in range(4)] == [5, 5, 0, 0]
    assert not any_ready(cast.acme.id), "so no turn is woken for nothing"
    assert any_ready(cast.initech.id)
    assert [len(claim(cast.initech.id, limit=5)) for _ in range(3)] == [5, 5, 5]


def test_a_type_at_its_limit_is_left_out_and_a_limit_that_is_set_counts_instead(db: Session, cast: Cast) -> None:
    for _ in range(3):
        submit("test.lone", business="acme", priority=5, session=db)
        submit("test.aside", business="acme", session=db)
    db.commit()
    assert [claim(cast.acme.id, "aside") for _ in range(2)] == [["test.lone"], ["test.aside"]]
    limits.set(db, cast.root, cast.acme.id, 2, "test.lone")
    db.commit()
    assert [claim(cast.acme.id, "aside") for _ in range(2)] == [["test.lone"], ["test.aside"]]
    limits.set(db, cast.root, cast.acme.id, None, "test.lone")
    db.commit()
    assert [claim(cast.acme.id, "aside") for _ in range(2)] == [["test.aside"], []]
    assert not any_ready(cast.acme.id, "aside")


def test_nought_stops_a_business_and_lifting_it_lets_it_go_on(db: Session, cast: Cast) -> None:
    submit("test.note", business="acme")
    limits.set(db, cast.root, cast.acme.id, 0)
    db.commit()
    assert (claim(cast.acme.id), any_ready(cast.acme.id)) == ([], False)
    limits.set(db, cast.root, cast.acme.id, None)
    db.commit()
    assert claim(cast.acme.id) == ["test.note"]
    assert look.scalar(select(func.count()).select_from(Limit)) == 0


def test_claimers_side_by_side_never_exceed_the_limit(db: Session, cast: Cast) -> None:
    limits.set(db, cast.root, cast.acme.id, 3)
    for _ in range(200):
        submit("test.note", business="acme", session=db)
    db.commit()
    together = threading.Barrier(8)

    def claimer() -> None:
        together.wait()
        for _ in range(5):
            claim(cast.acme.id)

    threads = [threading.Thread(target=claimer) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert look.scalar(select(func.count(Task.claim_token.distinct()))) == 3


def test_the_beat_wakes_no_turn_for_a_business_at_its_limit(db: Session, cast: Cast) -> None:
    limits.set(db, cast.root, cast.acme.id, 1)
    for _ in range(3):
        submit("test.note", business="acme", session=db)
    db.commit()
    queue.flush()
    claim(cast.acme.id)
    queue.connection().flushall()
    Beat().wake_ready()
    assert queue.turns_queued("default") == 0
    db.execute(Task.__table__.delete().where(Task.claim_token.is_not(None)))  # type: ignore[attr-defined]
    db.commit()
    Beat().wake_ready()
    assert queue.turns_queued("default") == 1


def test_only_platform_admins_set_and_see_limits_and_leave_a_trace(db: Session, cast: Cast) -> None:
    with pytest.raises(NotAllowed):
        limits.set(db, cast.ada, cast.acme.id, 2)
    with pytest.raises(NotAllowed):
        limits.search(db, cast.ada)
    with pytest.raises(NotFound):
        limits.set(db, cast.root, cast.initech.id, 2)
    limits.set(db, cast.root, cast.acme.id, 2)
    limits.set(db, cast.root, cast.acme.id, 2)
    limits.set(db, cast.root, cast.acme.id, 4, "test.note")
    limits.set(db, cast.root, cast.acme.id, 3)
    db.commit()
    assert [(one.task_type, one.max_running) for one in limits.search(db, cast.root)] == [(None, 3), ("test.note", 4)]
    told = look.rows(select(AuditEntry.subject, AuditEntry.before, AuditEntry.after).order_by(AuditEntry.id))
    assert [tuple(one) for one in told] == [
        ("limit:business", {"max_running": None}, {"max_running": 2}),
        ("limit:test.note", {"max_running": None}, {"max_running": 4}),
        ("limit:business", {"max_running": 2}, {"max_running": 3}),
    ]


@pytest.mark.parametrize(
    ("number", "task_type", "error"),
    [(-1, None, BadLimit), (10_001, None, BadLimit), (2, "no.such", task_types.UnknownTaskType)],
)
def test_a_limit_is_a_number_for_something_known(
    db: Session, cast: Cast, number: int, task_type: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        limits.set(db, cast.root, cast.acme.id, number, task_type)
