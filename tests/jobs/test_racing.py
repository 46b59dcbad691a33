"""Races with real worker processes, on both databases. The witness is a file that the handlers append to."""

from __future__ import annotations

import collections
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from jobs import pauses, queue
from jobs.judge import Target
from jobs.models import Attempt, Task
from tenants.database import transaction
from tenants.models import Business, User
from tests import look
from tests.factories import Cast
from tests.waiting import until

Start = Callable[..., subprocess.Popen[bytes]]
Notes = Callable[[], list[list[str]]]
PAUSES = 200
PAUSERS = 4


def add(db: Session, business_id: int, number: int, *, users: list[int | None], seconds: float = 0.0) -> None:
    """Many tasks at once; the users take turns."""
    rows = [
        {
            "business_id": business_id,
            "user_id": users[n % len(users)],
            "task_type": "test.note",
            "queue": "default",
            "payload": {"seconds": seconds},
        }
        for n in range(number)
    ]
    db.execute(insert(Task), rows)
    db.commit()
    queue.wake_now(business_id, "default")


def finished() -> int:
    return look.scalar(select(func.count()).where(Task.state == "completed")) or 0


def test_eight_workers_racing_for_ten_thousand_tasks_start_each_once(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    for _ in range(8):
        start("worker", "default")
    add(db, cast.acme.id, 10_000, users=[None, cast.ben.user.id])
    start("scheduler")
    until(lambda: finished() == 10_000, seconds=60, every=0.2)
    begun = collections.Counter(note[2] for note in notes())
    assert (len(begun), set(begun.values())) == (10_000, {1})
    assert look.scalar(select(func.count()).select_from(Attempt)) == 10_000


def test_nothing_begins_after_a_pause_has_answered(db: Session, cast: Cast, start: Start, notes: Notes) -> None:
    """Two hundred pauses race with four claimers, four people pausing at once, each two users in turn."""
    everybody = [_new_user(db, number) for number in range(2 * PAUSERS)]
    db.commit()
    for _ in range(4):
        start("worker", "default", SLICE_SECONDS="0.3")
    start("scheduler")
    add(db, cast.acme.id, 8_000, users=[*everybody, cast.root.user.id], seconds=0.01)
    until(notes)
    with ThreadPoolExecutor(PAUSERS) as people:
        racing = [
            people.submit(_pause_in_turn, cast, everybody[2 * number : 2 * number + 2], PAUSES // PAUSERS)
            for number in range(PAUSERS)
        ]
        windows = [window for one in racing for window in one.result()]
    user_of = dict(map(tuple, look.rows(select(Task.id, Task.user_id))))
    begun = [(float(at), user_of[int(id_)]) for at, _, id_, *_ in notes()]
    late = [(user, at - since) for user, since, till in windows for at, of in begun if of == user and since < at < till]
    assert late == []
    assert len(windows) == PAUSES
    assert len({user for _, user in begun}) == len(everybody) + 1, "everybody went on in between"
    assert PAUSES < len(begun) < 8_000, "there was something to race with, to the end"


def _new_user(db: Session, number: int) -> int | None:
    user = User(email=f"racer{number}@example.com", name=f"Racer {number}", password_hash="none")
    db.add(user)
    db.flush()
    return user.id


def _pause_in_turn(cast: Cast, users: list[int | None], times: int) -> list[tuple[int | None, float, float]]:
    """Pause one user while the other's pause stands, then end that one; from when to when each was paused."""
    windows: list[tuple[int | None, float, float]] = []
    standing: list[tuple[int | None, int, float]] = []
    for number in range(times + 1):
        if number < times:
            target = Target(cast.acme.id, user_id=users[number % 2])
            with transaction() as session:
                one = pauses.pause(session, cast.ada, target, "race")
            standing.append((target.user_id, one.id, time.monotonic()))
        if len(standing) == 2 or number == times:
            user_id, pause_id, answered = standing.pop(0)
            windows.append((user_id, answered, time.monotonic()))
            with transaction() as session:
                pauses.resume(session, cast.ada, pause_id)
    return windows


def test_a_flood_of_one_business_delays_another_by_a_turn_of_each_busy_worker(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    workers = 2
    for _ in range(workers):
        start("worker", "default")
    add(db, cast.acme.id, 10_000, users=[cast.ben.user.id], seconds=0.002)
    until(lambda: len({note[4] for note in notes()}) >= workers)
    submitted = time.monotonic()
    add(db, cast.initech.id, 10, users=[cast.zoe.user.id])
    until(lambda: sum(note[1] == "initech" for note in notes()) == 10)
    seen = notes()
    first_of_b = min(float(note[0]) for note in seen if note[1] == "initech")
    began_at: dict[str, float] = {}
    for at, business, _, _, horse in seen:
        if business == "acme":
            began_at.setdefault(horse, float(at))
    turns_between = [horse for horse, at in began_at.items() if submitted < at < first_of_b]
    assert len(turns_between) <= workers
    assert finished() < 10_000, "the flood was still on"


def test_a_flood_of_twenty_thousand_delays_five_small_businesses_by_a_few_turns(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    workers = 2
    small = [Business(slug=f"small{number}", name=f"Small {number}") for number in range(5)]
    db.add_all(small)
    db.commit()
    for _ in range(workers):
        start("worker", "default", SLICE_SECONDS="0.3")
    add(db, cast.acme.id, 20_000, users=[cast.ben.user.id], seconds=0.005)
    until(lambda: len({note[4] for note in notes() if note[1] == "acme"}) >= workers)
    submitted = time.monotonic()
    for business in small:
        add(db, business.id, 20, users=[None], seconds=0.005)
    until(lambda: sum(note[1].startswith("small") for note in notes()) == 100, seconds=60)
    seen = notes()
    done_at = max(float(note[0]) for note in seen if note[1].startswith("small"))
    began_at: dict[str, float] = {}
    for at, business_slug, _, _, horse in seen:
        if business_slug == "acme":
            began_at.setdefault(horse, float(at))
    turns_between = [horse for horse, at in began_at.items() if submitted < at < done_at]
    assert len(turns_between) <= 3 * workers
    assert finished() < 20_000, "the flood was still on"


def test_redis_is_flushed_with_a_thousand_tasks_waiting_and_all_complete(
    db: Session, cast: Cast, start: Start, notes: Notes
) -> None:
    start("scheduler")
    for _ in range(2):
        start("worker", "default")
    for business in (cast.acme, cast.globex, cast.initech):
        add(db, business.id, 334, users=[None], seconds=0.005)
    until(lambda: len(notes()) > 20)
    queue.connection().flushall()
    assert finished() < 1002
    until(lambda: finished() == 1002, seconds=40, every=0.2)
    begun = collections.Counter(note[2] for note in notes())
    assert set(begun.values()) == {1}, "nothing was doubled either"
