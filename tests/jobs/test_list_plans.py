"""How the databases find lists among 100,000 tasks that nobody has analysed: by indexes, never reading all of them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from jobs import lists
from jobs.filters import TaskFilter, View
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
