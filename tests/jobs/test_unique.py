"""Unique keys: no second task while the first one is unfinished, however many ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs import DuplicateTask, run_inline, submit, submitting
from jobs.models import Task
from tenants.clock import clock
from tenants.database import transaction
from tests import look
from tests.factories import Cast
from tests.waiting import until

Work = Callable[..., None]
AT_ONCE = 8


def count() -> int:
    return look.scalar(select(func.count()).select_from(Task)) or 0


def add(business: str = "acme", **more: object) -> int:
    return submit("test.note", business=business, unique_key="october", **more)  # type: ignore[arg-type]


def test_a_key_of_an_unfinished_task_is_refused_with_that_tasks_id(db: Session, cast: Cast) -> None:
    id_ = add()
    for state in ("paused", "pending"):
        with transaction() as session:
            session.execute(update(Task).values(state=state))
        with pytest.raises(DuplicateTask) as refused:
            add(user="ben@example.com")
        assert (refused.value.task_id, refused.value.field) == (id_, "unique_key")
    with pytest.raises(DuplicateTask):
        submitting.submit_as(db, cast.ada, "test.other", {}, unique_key="october")
    db.rollback()
    with pytest.raises(DuplicateTask):
        run_inline("test.note", business="acme", unique_key="october")
    assert count() == 1


def test_another_key_and_another_business_are_free(db: Session, cast: Cast) -> None:
    add()
    add("initech")
    submit("test.note", business="acme", unique_key="November")
    submit("test.note", business="acme", unique_key="november")
    assert count() == 4


def test_a_key_is_free_again_when_its_task_is_final(db: Session, cast: Cast, work: Work) -> None:
    for number in range(3):
        id_ = add()
        until(lambda: work("default") or look.task(id_).ended_at)  # noqa: B023 - it is called at once
        assert count() == number + 1


@pytest.mark.parametrize("how_long", [3600, timedelta(hours=1)])
def test_a_key_stays_taken_for_as_long_as_it_was_asked(
    db: Session, cast: Cast, work: Work, how_long: float | timedelta
) -> None:
    id_ = add(unique_for=how_long)
    until(lambda: work("default") or look.task(id_).state == "completed")
    with pytest.raises(DuplicateTask) as refused:
        add()
    assert refused.value.task_id == id_
    with transaction() as session:
        session.execute(update(Task).values(unique_until=clock(-1)))
    add()


def test_a_refused_key_leaves_the_callers_transaction_as_it_was(db: Session, cast: Cast) -> None:
    add()
    mine = submit("test.other", business="acme", session=db)
    with pytest.raises(DuplicateTask):
        add(session=db)
    also_mine = submit("test.other", business="acme", session=db, unique_key="mine")
    with pytest.raises(DuplicateTask):
        submit("test.other", business="acme", session=db, unique_key="mine")
    db.commit()
    assert set(look.scalars(select(Task.id).where(Task.task_type == "test.other"))) == {mine, also_mine}


def test_a_rollback_frees_the_key(db: Session, cast: Cast) -> None:
    add(session=db)
    db.rollback()
    add()
    assert count() == 1


def test_of_many_who_ask_at_once_exactly_one_gets_the_key(db: Session, cast: Cast) -> None:
    together = threading.Barrier(AT_ONCE, timeout=20)

    def ask(key: str) -> int | DuplicateTask:
        together.wait()
        try:
            return submit("test.note", business="acme", unique_key=key)
        except DuplicateTask as refused:
            return refused

    with ThreadPoolExecutor(AT_ONCE) as people:
        for round_ in range(10):
            answers = list(people.map(ask, [f"round {round_}"] * AT_ONCE))
            (id_,) = [one for one in answers if isinstance(one, int)]
            assert {one.task_id for one in answers if isinstance(one, DuplicateTask)} == {id_}
    assert count() == 10


def test_who_asks_while_another_has_not_committed_yet_waits_for_it(db: Session, cast: Cast) -> None:
    first = add(session=db)
    with ThreadPoolExecutor(1) as other:
        second = other.submit(add)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.3)
        db.commit()
        refused = second.exception(timeout=20)
    assert isinstance(refused, DuplicateTask)
    assert refused.task_id == first
    assert count() == 1
