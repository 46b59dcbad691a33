"""What keeps processes apart on PostgreSQL: who waits for whom, who passes, and the bugs by which that would show.

One act stands in an open transaction while the other one is tried. SQLite has one writer at a time:
`tests/tenants/test_turnstile.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text, update
from sqlalchemy.orm import Session

from jobs import claims, grouping, judge, leases, limits, pauses, settling, submit, turns
from jobs.judge import Target
from jobs.models import Pause, Task
from tenants.clock import clock
from tenants.database import transaction
from tests import look
from tests.factories import Cast
from tests.machine.mutants import Mutant, planted
from tests.waiting import until

Act = Callable[[Session], Any]
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_WAITING = select(text("count(*) FROM pg_locks WHERE NOT granted"))


@contextlib.contextmanager
def beside(first: Act, second: Callable[[], Any]) -> Iterator[tuple[Any, Callable[[], Any], Callable[[], bool]]]:
    """`second` begins while the transaction of `first` is open, and the block is run when it waits or is over.

    Given are what `first` answered, `second`'s answer, and whether it waits. The transaction is committed after it.
    """
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            answer = first(session)
            session.flush()
            going = other.submit(second)

            def waits() -> bool:
                if going.done():
                    going.result()  # what it raised says more
                return not going.done()

            until(lambda: going.done() or look.scalar(_WAITING))
            yield answer, going.result, waits
        going.result()


def claim(session: Session, business_id: int, limit: int = 2) -> list[int]:
    """As a turn claims."""
    judge.let_claims_pass(session, business_id)
    found = claims.claim(session, business_id, "default", limit=limit, worker="here", lease_seconds=60)
    return [one.id for one in found]


def turn(business_id: int) -> list[str | None]:
    """Whose task a turn claims first."""
    one = turns._Turn(business_id, "default")
    one.exchange()
    return [one.user for one in one._unbegun]


def alone(act: Act) -> Callable[[], Any]:
    """In a transaction of its own."""

    def acting() -> Any:
        with transaction() as session:
            return act(session)

    return acting


def pause(cast: Cast) -> Act:
    return lambda session: pauses.pause(session, cast.ada, Target(cast.acme.id, cast.ben.user.id), "flood").id


def lock(id_: int) -> Act:
    return lambda session: session.execute(select(Task.id).where(Task.id == id_).with_for_update()).all()


def a_pause_waits_for_claims_under_way(cast: Cast, _ids: list[int]) -> None:
    """Or what they claimed began after it had answered."""
    with beside(lambda session: claim(session, cast.acme.id), alone(pause(cast))) as (claimed, _, waits):
        assert claimed
        assert waits()


def a_pause_of_the_installation_waits_for_claims_of_any_business(cast: Cast, _ids: list[int]) -> None:
    everybody = alone(
        lambda session: pauses.pause(session, cast.root, Target(None, task_type="test.note"), "outage").id
    )
    with beside(lambda session: claim(session, cast.acme.id), everybody) as (_, _, waits):
        assert waits()


def a_turn_waits_for_a_pause_and_sees_it(cast: Cast, _ids: list[int]) -> None:
    with beside(pause(cast), lambda: turn(cast.acme.id)) as (_, claimed, waits):
        assert waits()
    assert claimed() == [cast.cleo.user.email]


def a_pause_keeps_no_other_business_waiting(cast: Cast, _ids: list[int]) -> None:
    submit("test.note", business="globex")
    with beside(pause(cast), alone(lambda session: claim(session, cast.globex.id))) as (_, claimed, waits):
        assert not waits()
        assert len(claimed()) == 1


def two_claims_share_what_is_ready(cast: Cast, ids: list[int]) -> None:
    with beside(lambda s: claim(s, cast.acme.id), alone(lambda s: claim(s, cast.acme.id))) as (mine, yours, waits):
        assert not waits()
        assert (mine, yours()) == (ids[:2], ids[2:])


def claims_under_a_limit_follow_each_other(cast: Cast, _ids: list[int]) -> None:
    """Or both counted what runs before either had claimed."""
    alone(lambda session: limits.set(session, cast.root, cast.acme.id, 1))()
    with beside(lambda s: claim(s, cast.acme.id), alone(lambda s: claim(s, cast.acme.id))) as (_, claimed, waits):
        assert waits()
    assert claimed() == []


def a_claim_passes_over_a_locked_task(cast: Cast, ids: list[int]) -> None:
    with beside(lock(ids[0]), alone(lambda session: claim(session, cast.acme.id))) as (_, claimed, waits):
        assert not waits()
        assert claimed() == ids[1:3]


def settling_passes_over_a_locked_task(cast: Cast, ids: list[int]) -> None:
    alone(lambda s: s.add(Pause(business_id=cast.acme.id, user_id=cast.ben.user.id, reason="flood")))()
    with beside(lock(ids[0]), alone(lambda session: settling.settle(session, cast.acme.id))) as (_, moved, waits):
        assert not waits()
        assert moved() == 1


def the_reaper_passes_over_a_locked_task(cast: Cast, ids: list[int]) -> None:
    alone(lambda session: claim(session, cast.acme.id))()
    alone(lambda session: session.execute(update(Task).values(lease_until=clock(-1)).where(Task.state == "running")))()
    with beside(lock(ids[0]), alone(leases.reap)) as (_, reaped, waits):
        assert not waits()
        assert reaped() == 1


def grouping_passes_over_a_locked_task(cast: Cast, ids: list[int]) -> None:
    alone(lambda session: session.execute(update(Task).values(state="failed", failure_id=0)))()
    with beside(lock(ids[0]), alone(lambda session: grouping.group(session, cast.acme.id))) as (_, grouped, waits):
        assert not waits()
        assert grouped() == len(ids) - 1


Promise = Callable[[Cast, list[int]], None]
PROMISES: list[Promise] = [
    a_pause_waits_for_claims_under_way,
    a_pause_of_the_installation_waits_for_claims_of_any_business,
    a_turn_waits_for_a_pause_and_sees_it,
    a_pause_keeps_no_other_business_waiting,
    two_claims_share_what_is_ready,
    claims_under_a_limit_follow_each_other,
    a_claim_passes_over_a_locked_task,
    settling_passes_over_a_locked_task,
    the_reaper_passes_over_a_locked_task,
    grouping_passes_over_a_locked_task,
]
_ON_POSTGRESQL = 'session.get_bind().dialect.name == "postgresql"'
_SKIPPING = "with_for_update(skip_locked=True)"
_WAITING_FOR = "with_for_update()"
BUGS = [
    (
        Mutant("claims pass no lock", "jobs.judge:let_claims_pass", _ON_POSTGRESQL, "False"),
        a_pause_waits_for_claims_under_way,
    ),
    (
        Mutant("a pause takes no lock", "jobs.judge:stop_claims", _ON_POSTGRESQL, "False"),
        a_pause_waits_for_claims_under_way,
    ),
    (
        Mutant(
            "claims know only their business",
            "jobs.judge:let_claims_pass",
            "_SHARED, ",
            'text("SELECT pg_advisory_xact_lock_shared(:lock, :business)"), ',
        ),
        a_pause_of_the_installation_waits_for_claims_of_any_business,
    ),
    (
        Mutant("every pause stops everybody", "jobs.judge:stop_claims", "business_id or 0", "0"),
        a_pause_keeps_no_other_business_waiting,
    ),
    (
        Mutant(
            "a turn claims without a lock",
            "jobs.turns:_Turn._exchange",
            "judge.let_claims_pass(session, self.business_id)",
            "pass",
        ),
        a_turn_waits_for_a_pause_and_sees_it,
    ),
    (
        Mutant("no order under a limit", "jobs.judge:one_at_a_time", _ON_POSTGRESQL, "False"),
        claims_under_a_limit_follow_each_other,
    ),
    (
        Mutant("claims wait for each other", "jobs.picks:_claiming", _SKIPPING, _WAITING_FOR),
        two_claims_share_what_is_ready,
    ),
    (
        Mutant("claims wait for a row", "jobs.picks:_claiming", _SKIPPING, _WAITING_FOR),
        a_claim_passes_over_a_locked_task,
    ),
    (
        Mutant("settling waits for a row", "jobs.settling:_move", _SKIPPING, _WAITING_FOR),
        settling_passes_over_a_locked_task,
    ),
    (
        Mutant("the reaper waits for a row", "jobs.leases:reap", _SKIPPING, _WAITING_FOR),
        the_reaper_passes_over_a_locked_task,
    ),
    (
        Mutant("grouping waits for a row", "jobs.grouping:_ungrouped", "of=Task, skip_locked=True", "of=Task"),
        grouping_passes_over_a_locked_task,
    ),
]


@pytest.fixture
def ids(engine: Engine, db: Session, cast: Cast) -> list[int]:
    """Two tasks of Ben, then two of Cleo."""
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default"}
    users = [cast.ben.user.id] * 2 + [cast.cleo.user.id] * 2
    db.execute(insert(Task), [{**row, "user_id": user} for user in users])
    db.commit()
    return look.scalars(select(Task.id).order_by(Task.id))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda one: one.__name__)
def test_processes_side_by_side(cast: Cast, ids: list[int], promise: Promise) -> None:
    promise(cast, ids)


@pytest.mark.parametrize(("mutant", "promise"), BUGS, ids=lambda one: getattr(one, "name", ""))
def test_a_planted_bug_among_the_locks_is_found(cast: Cast, ids: list[int], mutant: Mutant, promise: Promise) -> None:
    with planted(mutant) as calls, pytest.raises(AssertionError):
        promise(cast, ids)
    assert calls, "what finds it has come by the bug"
