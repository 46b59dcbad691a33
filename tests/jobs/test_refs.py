"""Which tasks build a thing: found by the reference that they carry."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from jobs import deletions, refs, reruns, run_inline, submit, submit_many
from jobs.checks import BadRef
from jobs.models import Task
from tenants.database import transaction
from tests.factories import Cast
from tests.jobs.test_plans import fill, plan  # noqa: F401 - a fixture
from tests.webapp import rows

BEN = "ben@example.com"


def ids(session: Session, by: object, ref: str = "order 7", **how: int) -> list[int]:
    return [row.task.id for row in refs.search(session, by, ref, **how).rows]  # type: ignore[arg-type]


def test_a_submit_carries_a_reference_and_its_tasks_are_found_newest_first(db: Session, cast: Cast) -> None:
    first, second = (submit("test.note", business="acme", user=BEN, ref="order 7") for _ in range(2))
    submit("test.note", business="acme", user=BEN, ref="order 8")
    cleos = submit("test.note", business="acme", user="cleo@example.com", ref="order 7")
    submit("test.note", business="globex", user="ada@example.com", ref="order 7")
    assert ids(db, cast.ada) == [cleos, second, first]
    assert ids(db, cast.ben) == [second, first]
    assert ids(db, cast.zoe) == ids(db, cast.ada, "Order 7") == []


def test_many_tasks_and_one_that_runs_at_once_carry_it_too(db: Session, cast: Cast) -> None:
    many = submit_many("test.note", [{}, {}], business="acme", user=BEN, ref="order 7")
    done = run_inline("test.note", business="acme", user=BEN, ref="order 7")
    assert ids(db, cast.ben) == [done.id, *many[::-1]]


def test_pages_follow_each_other_whatever_comes_meanwhile(db: Session, cast: Cast) -> None:
    every = [submit("test.note", business="acme", user=BEN, ref="order 7") for _ in range(5)]
    page = refs.search(db, cast.ben, "order 7", limit=2)
    db.rollback()
    submit("test.note", business="acme", user=BEN, ref="order 7")
    seen = [row.task.id for row in page.rows]
    while page.older:
        page = refs.search(db, cast.ben, "order 7", before=page.older, limit=2)
        seen += [row.task.id for row in page.rows]
    assert seen == every[::-1]


@pytest.mark.parametrize("ref", ["", "x" * 201, "a\x00b", 7])
def test_a_reference_is_a_text(db: Session, cast: Cast, ref: str) -> None:
    for act in (lambda: submit("test.note", business="acme", ref=ref), lambda: refs.search(db, cast.ada, ref)):
        with pytest.raises(BadRef) as caught:
            act()
        assert caught.value.field == "ref"


def test_running_again_builds_the_same_thing_and_what_is_deleted_is_not_there(db: Session, cast: Cast) -> None:
    old = rows.task(cast.acme, cast.ben, "failed", ref="order 7")
    with transaction() as session:
        new = reruns.run_again(session, cast.ben, old, {"times": 1})
        deletions.begin(session, cast.ben, old)
    assert ids(db, cast.ben) == [new]


@pytest.mark.parametrize("who", ["ada", "ben"])
def test_a_reference_is_found_by_its_index_in_order(
    db: Session,
    cast: Cast,
    plan: Callable[..., str],  # noqa: F811
    who: str,
) -> None:
    fill(db, cast, "completed")
    db.execute(update(Task).where(Task.id % 2 == 0).values(ref="order 7"))
    db.commit()
    found = plan(lambda session: refs.search(session, getattr(cast, who), "order 7", before=50_000))
    assert "ix_tasks_ref" in found, found
    for bad in ("Seq Scan on tasks", "SCAN tasks", "Sort", "B-TREE FOR ORDER BY"):
        assert bad not in found, found
