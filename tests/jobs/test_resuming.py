"""Resuming: the exact order holds from the first claim, as if there had been no pause."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from jobs import claims, judge, pauses, records, settling
from jobs.attempts import Outcome
from jobs.beat import Beat
from jobs.judge import Target
from jobs.models import Pause, Task
from jobs.records import Ended
from jobs.states import State
from tenants.database import transaction
from tests import look
from tests.factories import Cast
from tests.waiting import until

Work = Callable[..., None]
MANY = 5_000
_waiting_for_a_lock = select(text("count(*) FROM pg_locks WHERE NOT granted"))
_done = Outcome(State.COMPLETED, "completed")


def add(db: Session, cast: Cast, number: int, *, user: int | None, state: str = "pending", **values: object) -> None:
    """Many tasks of one user, in `default`."""
    row = {"business_id": cast.acme.id, "user_id": user, "task_type": "test.note", "queue": "default", "state": state}
    db.execute(insert(Task), [{**row, **values} for _ in range(number)])
    db.commit()


def over(db: Session, target: Target) -> None:
    """A pause that has just ended, in the registry alone: nothing is settled yet."""
    db.add(Pause(**vars(target), reason="over", ended_at=datetime.now(UTC)))
    db.commit()


def claim(business_id: int, limit: int = 100) -> list[int]:
    """The ids that one claim gets."""
    with transaction(claims=True) as session:
        judge.let_claims_pass(session, business_id)
        found = claims.claim(session, business_id, "default", limit=limit, worker="here", lease_seconds=60)
    return [one.id for one in found]


def claim_and_end(business_id: int) -> None:
    """Claim ten whose lease is over at once, end five and give back the rest."""
    with transaction(claims=True) as session:
        judge.let_claims_pass(session, business_id)
        found = claims.claim(session, business_id, "default", limit=10, worker="here", lease_seconds=0.01)
    with transaction(claims=True) as session:
        judge.let_claims_pass(session, business_id)
        claims.give_back(session, found[5:])
        records.record(session, [Ended(one, _done, 0.0, 0.0, 1) for one in found[:5]], "here")


def claim_all(business_id: int, times: int) -> list[int]:
    return [id_ for _ in range(times) for id_ in claim(business_id)]


def side_by_side(*acts: Callable[[], None]) -> None:
    """Each in a thread of its own; the first error of any is raised here."""
    with ThreadPoolExecutor(len(acts)) as threads:
        for ending in [threads.submit(act) for act in acts]:
            ending.result()


def in_order(*where: object) -> list[int]:
    """The ids as a claim should find them."""
    return look.scalars(select(Task.id).where(*where).order_by(*Task.claim_order()))  # type: ignore[arg-type]


@pytest.mark.parametrize("of", ["user", "type", "both"])
def test_claims_come_in_exact_order_though_nothing_is_settled_yet(db: Session, cast: Cast, of: str) -> None:
    target = Target(
        cast.acme.id,
        cast.ben.user.id if of != "type" else None,
        "test.note" if of != "user" else None,
    )
    add(db, cast, 300, user=cast.cleo.user.id, task_type="test.other")
    add(db, cast, 20, user=cast.cleo.user.id, task_type="test.other", priority=7)
    for priority in (9, 5, 7):
        add(db, cast, MANY // 3, user=cast.ben.user.id, state="paused", priority=priority)
    over(db, target)
    expected = in_order()
    assert claim_all(cast.acme.id, 40) == expected[:4000]
    waiting = look.scalar(select(func.count()).where(Task.state == "paused"))
    assert waiting == MANY // 3 * 3 - 4000, "a claim brings back no more than it may need"


def test_what_another_pause_still_holds_stays_out_and_the_rest_is_in_order(db: Session, cast: Cast) -> None:
    for type_, priority in (("test.note", 9), ("test.other", 7), ("test.note", 5), ("test.other", 3)):
        add(db, cast, 200, user=cast.ben.user.id, state="paused", task_type=type_, priority=priority)
    add(db, cast, 200, user=cast.cleo.user.id, task_type="test.other", priority=5)
    db.add(Pause(business_id=cast.acme.id, task_type="test.note", reason="stands"))
    over(db, Target(cast.acme.id, user_id=cast.ben.user.id))
    expected = in_order(Task.task_type == "test.other")
    assert claim_all(cast.acme.id, 8) == expected
    assert look.scalar(select(func.count()).where(Task.state == "paused")) == 400


def test_a_pause_whose_time_is_over_is_in_order_before_anybody_ends_it(db: Session, cast: Cast) -> None:
    add(db, cast, 150, user=cast.cleo.user.id)
    add(db, cast, 150, user=cast.ben.user.id, state="paused", priority=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="for a while", until=past))
    db.commit()
    assert claim_all(cast.acme.id, 3) == in_order()


def test_what_is_not_due_waits_and_holds_up_nobody(db: Session, cast: Cast) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    add(db, cast, 150, user=cast.ben.user.id, state="paused", priority=9, next_try_at=later)
    add(db, cast, 50, user=cast.ben.user.id, state="paused", priority=5)
    over(db, Target(cast.acme.id, user_id=cast.ben.user.id))
    assert claim_all(cast.acme.id, 2) == in_order(Task.priority == 5)


def test_claimers_side_by_side_with_settling_take_the_highest_first(db: Session, cast: Cast) -> None:
    add(db, cast, 500, user=cast.cleo.user.id)
    add(db, cast, 2000, user=cast.ben.user.id, state="paused", priority=5)
    over(db, Target(cast.acme.id, user_id=cast.ben.user.id))
    claimed: list[list[int]] = []

    def settle() -> None:
        for _ in range(4):
            with transaction(claims=True) as session:
                settling.settle(session, cast.acme.id, chunk=300)

    def claim_some() -> None:
        claimed.extend(claim(cast.acme.id) for _ in range(5))

    side_by_side(claim_some, settle, claim_some, claim_some, claim_some)
    got = [id_ for batch in claimed for id_ in batch]
    assert sorted(got) == sorted(set(got))
    assert set(got) == set(in_order(Task.priority == 5)), "nothing lower went before"


def test_an_ended_pause_is_settled_when_none_of_its_tasks_is_marked(db: Session, cast: Cast) -> None:
    add(db, cast, 1200, user=cast.ben.user.id, state="paused")
    over(db, Target(cast.acme.id, user_id=cast.ben.user.id))
    settled = []
    for _ in range(3):
        settling.settle(db, cast.acme.id, chunk=500)
        db.commit()
        settled.append(look.scalar(select(Pause.settled_at)) is not None)
    assert settled == [False, False, True]
    assert look.scalar(select(func.count()).where(Task.state == "paused")) == 0


def test_a_marked_task_that_somebody_edits_meanwhile_is_not_left_behind(db: Session, cast: Cast) -> None:
    add(db, cast, 3, user=cast.ben.user.id, state="paused")
    over(db, Target(cast.acme.id, user_id=cast.ben.user.id))
    if db.get_bind().dialect.name == "sqlite":
        return  # one writer: nothing is ever passed over
    with transaction() as other:
        first = other.scalars(select(Task).order_by(Task.id).limit(1)).one()
        first.priority = 4
        other.flush()
        settling.settle(db, cast.acme.id)
        db.commit()
        assert look.scalar(select(Pause.settled_at)) is None
    settling.settle(db, cast.acme.id)
    db.commit()
    assert look.scalar(select(Pause.settled_at)) is not None
    assert look.scalar(select(func.count()).where(Task.state == "paused")) == 0


def test_a_pause_of_the_whole_installation_is_settled_when_every_business_is(db: Session, cast: Cast) -> None:
    add(db, cast, 5, user=cast.ben.user.id, state="paused")
    add(db, cast, 5, user=None, state="paused", business_id=cast.initech.id)
    over(db, Target(None, task_type="test.note"))
    settling.settle(db, cast.acme.id)
    settling.finish_system_wide(db)
    db.commit()
    assert look.scalar(select(Pause.settled_at)) is None
    Beat().settle()
    assert look.scalar(select(Pause.settled_at)) is not None
    assert look.scalar(select(func.count()).where(Task.state == "paused")) == 0


def test_what_a_pause_marks_while_it_is_resumed_is_brought_back(db: Session, cast: Cast) -> None:
    """Settling that began under the pause ends after the resume began: the resume waits for it."""
    add(db, cast, 10, user=cast.ben.user.id)
    one = Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="found in the registry")
    db.add(one)
    db.commit()

    def resume() -> None:
        with transaction() as session:
            pauses.resume(session, cast.ada, one.id)

    resuming = threading.Thread(target=resume)
    with transaction() as session:
        assert settling.settle(session, cast.acme.id) == 10
        resuming.start()
        if db.get_bind().dialect.name == "postgresql":
            until(lambda: not resuming.is_alive() or look.scalar(_waiting_for_a_lock))
    resuming.join()
    Beat().settle()
    assert look.scalar(select(Pause.settled_at)) is not None
    assert look.scalar(select(func.count()).where(Task.state == "pending")) == 10


def test_tasks_of_an_ended_pause_count_as_ready_before_they_are_unmarked(db: Session, cast: Cast) -> None:
    add(db, cast, 1, user=cast.ben.user.id, state="paused")
    with transaction(read_only=True) as session:
        assert not claims.any_ready(session, cast.acme.id, "default")
    over(db, Target(cast.acme.id, user_id=cast.ben.user.id))
    with transaction(read_only=True) as session:
        assert claims.any_ready(session, cast.acme.id, "default")
        assert not claims.any_ready(session, cast.initech.id, "default")
    db.execute(update(Task).values(next_try_at=datetime.now(UTC) + timedelta(hours=1)))
    db.commit()
    with transaction(read_only=True) as session:
        assert not claims.any_ready(session, cast.acme.id, "default")


def test_pauses_settling_claims_ends_and_the_reaper_never_block_each_other_for_good(db: Session, cast: Cast) -> None:
    """Flat out in threads: a deadlock is an error on PostgreSQL, so each of them would fail."""
    add(db, cast, 600, user=cast.ben.user.id)
    add(db, cast, 600, user=cast.cleo.user.id, task_type="test.other")
    all_done = threading.Event()
    targets = [
        Target(cast.acme.id, user_id=cast.ben.user.id),
        Target(cast.acme.id, task_type="test.other"),
        Target(cast.acme.id, cast.cleo.user.id, "test.other"),
    ]

    def pause_and_resume() -> None:
        for target in targets * 3:
            with transaction() as session:
                one = pauses.pause(session, cast.ada, target, "again")
            with transaction() as session:
                pauses.resume(session, cast.ada, one.id)
        all_done.set()

    def again(act: Callable[[], object]) -> Callable[[], None]:
        def repeat() -> None:
            while not all_done.is_set():
                act()

        return repeat

    settle, work = again(Beat().settle), again(lambda: claim_and_end(cast.acme.id))
    side_by_side(pause_and_resume, settle, settle, work, work, work, again(Beat().reap))
    for _ in range(5):
        Beat().settle()
    assert look.scalar(select(func.count()).where(Task.state == "paused")) == 0
    assert look.scalar(select(func.count()).where(Pause.settled_at.is_(None))) == 0
