"""While a pause is new, claims look at a part of what it covers, let others write, and go on: in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, delete, event, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from jobs import claims, judge, levels, picks, queue, stretches, submit, turns
from jobs.levels import Level
from jobs.models import Limit, Pause, Task
from jobs.stretches import Passed, Place, Stretch
from tenants.clock import clock
from tenants.database import transaction
from tests import look
from tests.factories import Cast

LONGEST = 3
MANY = 3 * LONGEST


@pytest.fixture(autouse=True, params=[2, 1000], ids=["near", "far"])
def _short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first claim of a turn tells at once that all near the head is held, or has to look."""
    monkeypatch.setattr(stretches, "LONGEST", LONGEST)
    monkeypatch.setattr(stretches, "NEAR", request.param)


@pytest.fixture(params=[0, 1], ids=["together", "apart"])
def flood(request: pytest.FixtureRequest, db: Session, cast: Cast) -> int:
    """Ben's tasks, submitted at once or one by one, before one of Cleo's. Ben is paused, and nothing is set aside.

    Answers the id of hers.
    """
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default", "payload": "{}"}
    at, apart = datetime.now(UTC) - timedelta(hours=1), timedelta(milliseconds=request.param)
    bens = {**row, "user_id": cast.ben.user.id}
    db.execute(insert(Task), [{**bens, "next_try_at": at + number * apart} for number in range(MANY)])
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    db.commit()
    return submit("test.note", business="acme", user="cleo@example.com")


def looks(cast: Cast, limit: int = 10, passed: Passed | None = None) -> Iterator[claims.Taken | None]:
    """What one claim of a turn after the other takes; None when there is nothing."""
    passed = passed or Passed()
    while True:
        if passed.is_short:
            with transaction(read_only=True) as session:
                picks.look_ahead(session, cast.acme.id, "default", passed)
        with transaction() as session:
            judge.let_claims_pass(session, cast.acme.id)
            about = {"limit": limit, "worker": "here", "lease_seconds": 60.0}
            taken = claims.take(session, cast.acme.id, "default", passed=passed, **about)
        yield taken


def ids(taken: claims.Taken | None) -> list[int]:
    return [one.id for one in taken.claims()] if taken else []


def test_a_claim_looks_at_so_many_and_the_next_goes_on_where_something_may_start(cast: Cast, flood: int) -> None:
    taken = looks(cast)
    assert ids(next(taken)) == []
    assert ids(next(taken)) == [flood]
    assert next(taken) is None


def test_what_stands_before_or_among_what_is_held_is_claimed_at_once(db: Session, cast: Cast, flood: int) -> None:
    urgent = submit("test.note", business="acme", user="cleo@example.com", priority=7)
    assert ids(next(looks(cast))) == [urgent]
    db.execute(update(Task).where(Task.id == 2).values(user_id=cast.cleo.user.id))
    db.commit()
    assert ids(next(looks(cast))) == [2]


def test_the_next_claims_of_a_turn_do_not_begin_again(cast: Cast, flood: int) -> None:
    later = submit("test.note", business="acme", user="cleo@example.com")
    assert [ids(one) for one in itertools.islice(looks(cast, limit=1), 3)] == [[], [flood], [later]]


def twins(db: Session, of: int, number: int) -> list[int]:
    """More of Cleo's tasks, with the time of this one."""
    ids = [submit("test.note", business="acme", user="cleo@example.com") for _ in range(number)]
    db.execute(update(Task).where(Task.id.in_(ids)).values(next_try_at=look.task(of).next_try_at))
    db.commit()
    return ids


def test_more_priorities_for_tomorrow_than_a_claim_looks_at_are_in_nobodys_way(
    db: Session, cast: Cast, flood: int, work: Callable[..., None]
) -> None:
    for priority in range(1, levels.MOST + 1):
        submit("test.note", business="acme", priority=priority, start_at=datetime.now(UTC) + timedelta(days=1))
    work()
    assert look.task(flood).state == "completed"


def test_what_an_ended_pause_held_is_claimed_before_what_is_later(db: Session, cast: Cast, flood: int) -> None:
    """Her first task stands behind the flood; the second is brought back when the turn has looked ahead already."""
    db.execute(update(Task).where(Task.user_id == cast.ben.user.id).values(priority=5))
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default", "payload": "{}"}
    adas = {
        **row,
        "user_id": cast.ada.user.id,
        "state": "paused",
        "next_try_at": datetime.now(UTC) - timedelta(minutes=1),
    }
    db.execute(insert(Task), [{**adas, "priority": priority} for priority in (5, 0)])
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ada.user.id, reason="over", ended_at=clock()))
    db.commit()
    first, second = look.scalars(select(Task.id).where(Task.user_id == cast.ada.user.id).order_by(Task.id))
    taken = [ids(one) for one in itertools.islice(looks(cast, limit=1), 6)]
    assert [one for one in taken if one] == [[first], [second], [flood]]


def test_what_has_the_time_of_the_first_is_looked_at_until_it_is_used_up(db: Session, cast: Cast, flood: int) -> None:
    [twin] = twins(db, flood, 1)
    passed = Passed()
    taken = looks(cast, limit=1, passed=passed)
    assert [ids(one) for one in itertools.islice(taken, 3)] == [[], [flood], [twin]]
    assert passed.places[0].id < flood
    later = submit("test.note", business="acme", user="cleo@example.com")
    assert ids(next(taken)) == [later]
    assert passed.places[0].id == stretches.BIGGEST
    last = submit("test.note", business="acme", user="cleo@example.com")
    assert ids(next(taken)) == [last]


def test_what_a_claim_gives_back_since_one_task_runs_alone_is_claimed_before_what_is_later(
    db: Session, cast: Cast, flood: int
) -> None:
    alone, twin = twins(db, flood, 2)
    later = submit("test.note", business="acme", user="cleo@example.com")
    db.execute(update(Task).where(Task.id == alone).values(claim_alone=True))
    db.commit()
    taken = [ids(one) for one in itertools.islice(looks(cast), 6)]
    assert [one for one in taken if one] == [[flood], [alone], [twin, later]]


def test_what_a_turn_could_not_commit_is_claimed_before_what_is_later(
    db: Session, cast: Cast, flood: int, engine: Engine
) -> None:
    later = submit("test.note", business="acme", user="cleo@example.com")
    turn = turns._Turn(cast.acme.id, "default")
    turn.exchange()

    def refuse(connection: Connection) -> None:
        if not connection.get_execution_options().get("read_only"):
            raise OperationalError("COMMIT", {}, Exception("the server is away"))

    turn._usual_seconds = 0.001  # so that it would claim all
    event.listen(engine, "commit", refuse)
    with pytest.raises(OperationalError):
        turn.exchange()
    event.remove(engine, "commit", refuse)
    assert turn._passed == Passed()
    while not turn._unbegun:
        assert turn.exchange()
    assert [one.id for one in turn._unbegun] == [flood, later]


def test_a_turn_asks_whether_more_is_ready_while_somebody_writes(db: Session, cast: Cast, flood: int) -> None:
    db.execute(update(Task).where(Task.id == 1).values(priority=1))
    turns._Turn(cast.acme.id, "default").call_for_more()
    db.rollback()
    assert queue.turns_queued("default") == 1


def test_a_turn_that_asks_whether_more_is_ready_begins_where_it_is(
    db: Session, cast: Cast, flood: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its pause holds it has passed already: reading it again took PostgreSQL 30 ms beside the claims of others.

    A new pause, or the end of one, makes it look at all.
    """
    read, left, passed = [], stretches.left, Passed()

    def note(level: Level, places: dict[int, Place]) -> list[Stretch]:
        read.extend(one.kind for one in left(level, places))
        return left(level, places)

    monkeypatch.setattr(stretches, "left", note)
    taken = looks(cast, passed=passed)
    assert [ids(next(taken)), ids(next(taken))] == [[], [flood]]

    def is_more_ready() -> bool:
        read.clear()
        with transaction(read_only=True) as session:
            return claims.any_ready(session, cast.acme.id, "default", passed)

    assert (is_more_ready(), read) == (False, ["moment", "later"])
    submit("test.note", business="acme", user="cleo@example.com")
    assert (is_more_ready(), read) == (True, ["moment", "later"])
    db.execute(update(Task).where(Task.user_id == cast.cleo.user.id).values(user_id=cast.ada.user.id))
    db.execute(update(Pause).values(user_id=cast.ada.user.id))
    db.commit()
    assert (is_more_ready(), read) == (True, ["level"])


def test_what_somebody_had_locked_is_not_left_by_the_last_turn(
    db: Session, cast: Cast, flood: int, engine: Engine
) -> None:
    """A claim passes over it on PostgreSQL, and the turn has passed it then. SQLite's claims wait for the lock."""
    if engine.dialect.name == "sqlite":
        pytest.skip("nothing is locked by itself")
    queue.flush()
    queue.connection().flushall()
    turn = turns._Turn(cast.acme.id, "default")
    db.execute(select(Task.id).where(Task.id == flood).with_for_update())
    while turn.exchange():
        assert not turn._unbegun
    db.rollback()
    turn.call_for_more()
    assert queue.turns_queued("default") == 0, "it has passed it"
    turn.call_for_more(is_last=True)
    assert queue.turns_queued("default") == 1


def test_the_first_task_of_all_may_stand_behind(db: Session, cast: Cast, flood: int) -> None:
    db.execute(update(Task).where(Task.id == 1).values(user_id=cast.cleo.user.id, next_try_at=clock()))
    db.execute(update(Task).where(Task.id == flood).values(priority=-1))
    db.commit()
    assert [ids(one) for one in itertools.islice(looks(cast), 3)] == [[], [1, flood], []]


def test_behind_what_is_paused_there_may_be_nothing(db: Session, cast: Cast, flood: int) -> None:
    db.execute(update(Task).where(Task.id == flood).values(next_try_at=clock(86_400)))
    db.commit()
    taken = looks(cast)
    assert ids(next(taken)) == []
    assert next(taken) is None
    new = submit("test.note", business="acme", user="cleo@example.com")
    assert ids(next(taken)) == [new]


def test_where_nothing_is_held_a_claim_takes_all_it_may(db: Session, cast: Cast) -> None:
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="has nothing here"))
    db.commit()
    many = [submit("test.note", business="acme", user="cleo@example.com") for _ in range(3 * LONGEST)]
    assert ids(next(looks(cast, limit=100))) == many


def test_what_is_held_far_behind_is_in_nobodys_way(
    db: Session, cast: Cast, flood: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "NEAR", 2)
    db.execute(update(Task).where(Task.id <= 2).values(user_id=cast.cleo.user.id))
    db.commit()
    assert ids(next(looks(cast))) == [1, 2, flood]


def test_when_what_is_clear_is_used_up_a_claim_looks_again(
    db: Session, cast: Cast, flood: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "NEAR", 4)
    db.execute(update(Task).where(Task.id <= 4).values(user_id=cast.cleo.user.id))
    db.commit()
    taken = looks(cast, limit=2)
    assert [ids(one) for one in itertools.islice(taken, 4)] == [[1, 2], [3, 4], [], [flood]]


def test_what_is_urgent_and_comes_meanwhile_is_claimed_first(cast: Cast, flood: int) -> None:
    taken = looks(cast, limit=1)
    next(taken)
    urgent = submit("test.note", business="acme", user="cleo@example.com", priority=7)
    assert [ids(one) for one in itertools.islice(taken, 2)] == [[urgent], [flood]]


def test_after_a_resume_all_is_looked_at_from_the_head(db: Session, cast: Cast, flood: int) -> None:
    taken = looks(cast, limit=2)
    next(taken)
    db.execute(update(Pause).values(ended_at=clock()))
    db.commit()
    assert ids(next(taken)) == [1, 2]


def test_what_a_limit_held_is_claimed_once_there_is_room(db: Session, cast: Cast, flood: int) -> None:
    db.add(Limit(business_id=cast.acme.id, task_type="test.note", max_running=0))
    db.commit()
    other = submit("test.any", business="acme", user="cleo@example.com", payload={"value": 1})
    taken = looks(cast, limit=1)
    assert [ids(one) for one in itertools.islice(taken, 2)] == [[], [other]]
    db.execute(delete(Limit))
    db.commit()
    assert [ids(one) for one in itertools.islice(taken, 2)] == [[], [flood]]


def test_a_turn_reaches_the_tasks_behind_a_flood(cast: Cast, flood: int, work: Callable[..., None]) -> None:
    work()
    found = dict(map(tuple, look.rows(select(Task.id, Task.state).where(Task.state != "pending"))))
    assert found == {flood: "completed"}


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_the_order_is_that_of_one_look(db: Session, cast: Cast, limit: int) -> None:
    """Tasks of Ben, Cleo and the Scheduler at four priorities, some for tomorrow."""
    people = [cast.ben.user.id, cast.ben.user.id, cast.ben.user.id, cast.cleo.user.id, None]
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default"}
    at = datetime.now(UTC) - timedelta(minutes=1)
    for one in range(120):
        when = at + timedelta(days=1) if one % 11 == 0 else at + timedelta(seconds=one * 17 % 40)
        user = people[one * 7 % 13 % len(people)]
        db.execute(insert(Task).values(**row, user_id=user, priority=one * 5 % 7 % 4, next_try_at=when))
    db.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="floods the queue"))
    db.commit()
    due = select(Task.id).where(Task.next_try_at < clock(), Task.user_id.is_distinct_from(cast.ben.user.id))
    expected = look.scalars(due.order_by(*Task.claim_order()))
    claimed: list[int] = []
    for taken in looks(cast, limit):
        if taken is None:
            break
        claimed += [one.id for one in taken.claims()]
    assert claimed == expected
