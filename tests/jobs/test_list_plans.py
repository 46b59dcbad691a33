"""How the databases find lists among 100,000 tasks that nobody has analysed: by indexes, never reading all of them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from jobs import lists
from jobs.filters import TaskFilter, View
from jobs.states import FINAL
from tests.factories import Cast
from tests.jobs.test_plans import fill, plan  # noqa: F401 - a fixture

WALKED = [(view, sort) for view in View for sort in view.sorts if sort != "user"]


def test_no_list_reads_all_tasks(db: Session, cast: Cast, plan: Callable[..., str]) -> None:  # noqa: F811
    fill(db, cast, "pending")
    for view, sort in WALKED:
        for args in ({}, {"q": "nobody"}):
            wanted = TaskFilter.from_args({**args, "sort": f"-{sort}"}, view=view)
            found = plan(lambda session, wanted=wanted: lists.search(session, cast.ada, wanted))
            for bad in ("Seq Scan on tasks", "SCAN tasks"):
                assert bad not in found.replace("SCAN tasks USING", ""), f"{view} {sort} {args}\n{found}"


def test_counting_the_few_of_a_state_reads_none_of_the_many(db: Session, cast: Cast, plan: Callable[..., str]) -> None:  # noqa: F811
    """Nothing has failed and nothing was deleted: on SQLite both counts read all of the business's tasks."""
    fill(db, cast, "completed")
    found = plan(lambda session: lists.search(session, cast.ada, TaskFilter()))
    assert found.count("ix_tasks_final_state") == len(FINAL), found
    if db.get_bind().dialect.name == "sqlite":
        assert found.count("ix_tasks_final_state (business_id=? AND state=?)") == len(FINAL), found
