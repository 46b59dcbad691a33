"""A final state never changes, whatever door somebody comes through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from jobs import claims, deletions, interrupts, leases, records, settling, tasks
from jobs.attempts import Claim, Outcome
from jobs.models import Pause, Task
from jobs.states import FINAL, MOVES, WAITING, State
from tenants.clock import clock
from tenants.errors import SluiceError
from tests import look
from tests.factories import Cast


def put(db: Session, cast: Cast, state: State) -> Task:
    """A task in that state, as if it had come there."""
    held = {"claim_token": "old", "lease_until": clock(-1)} if state in {State.RUNNING, State.CANCELLING} else {}
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default", "state": state, **held}
    id_ = db.scalar(insert(Task).values(attempts=1 if held or state in FINAL else 0, **row).returning(Task.id))
    db.commit()
    return look.task(id_)


def _claim(db: Session, cast: Cast, task: Task) -> None:
    claims.claim(db, cast.acme.id, "default", limit=9, worker="w", lease_seconds=10)


def _finish(db: Session, cast: Cast, task: Task) -> None:
    held = Claim(task.id, cast.acme.id, "acme", None, "test.note", {}, 1, 10, "old", task.created_at)
    ended = records.Ended(held, Outcome(State.COMPLETED, "completed"), 0.0, 0.0, 1)
    records.record(db, [ended], "w")


def _give_back(db: Session, cast: Cast, task: Task) -> None:
    held = Claim(task.id, cast.acme.id, "acme", None, "test.note", {}, 1, 10, "old", task.created_at)
    claims.give_back(db, [held])


def _settle_under_pause(db: Session, cast: Cast, task: Task) -> None:
    db.add(Pause(business_id=cast.acme.id, task_type="test.note", reason="r"))
    db.flush()
    settling.settle(db, cast.acme.id)


def _settle(db: Session, cast: Cast, task: Task) -> None:
    settling.settle(db, cast.acme.id)


def _delete(db: Session, cast: Cast, task: Task) -> None:
    tasks.delete(db, cast.ada, task.id)


def _delete_and_undo(db: Session, cast: Cast, task: Task) -> None:
    deletions.begin(db, cast.ada, task.id)
    deletions.undo(db, cast.ada, task.id)


def _delete_and_finish(db: Session, cast: Cast, task: Task) -> None:
    deletions.begin(db, cast.ada, task.id, undo_seconds=0)
    deletions.finish(db)


def _interrupt(db: Session, cast: Cast, task: Task) -> None:
    interrupts.interrupt(db, cast.ada, task.id)


def _retry_now(db: Session, cast: Cast, task: Task) -> None:
    tasks.retry_now(db, cast.ada, task.id)


def _edit(db: Session, cast: Cast, task: Task) -> None:
    tasks.edit(db, cast.ada, task.id, tasks.Changes("new", 1, None, {}))


def _reap(db: Session, cast: Cast, task: Task) -> None:
    leases.reap(db)


ACTS = [_claim, _finish, _give_back, _settle_under_pause, _settle, _delete, _delete_and_undo, _delete_and_finish]
ACTS += [_interrupt, _retry_now, _edit, _reap]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("state", list(State))
def test_no_act_makes_an_illegal_move(
    db: Session, cast: Cast, state: State, act: Callable[[Session, Cast, Task], None]
) -> None:
    task = put(db, cast, state)
    try:
        act(db, cast, task)
        db.commit()
    except SluiceError:
        db.rollback()
    after = look.scalar(select(Task.state).where(Task.id == task.id))
    by_two = act is _delete_and_finish and state in WAITING  # by way of Cancelling
    assert after is None or after == state or State(after) in MOVES[state] or by_two
    assert after is not None or ("_delete" in act.__name__ and state in FINAL), "only a final task is removed"


@pytest.mark.parametrize("state", sorted(WAITING | FINAL))
def test_the_database_refuses_a_token_outside_an_attempt(db: Session, cast: Cast, state: State) -> None:
    row = {"business_id": cast.acme.id, "task_type": "test.note", "queue": "default", "state": state}
    with pytest.raises(IntegrityError):
        db.execute(insert(Task).values(**row, claim_token="t", lease_until=clock()))
    db.rollback()
