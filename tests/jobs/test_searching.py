"""Lists of tasks, asked of the domain itself."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from jobs import lists, submit, targets
from jobs.filters import TaskFilter
from tenants import accounts, members
from tests.factories import Cast


@pytest.mark.parametrize("q", ["\u00c5sa", "\u00e5sa", "\u00c5SA", "\u00f6BERG"])
def test_names_are_found_in_any_case_beyond_ascii(db: Session, cast: Cast, q: str) -> None:
    user = accounts.register(db, "asa@example.com", "\u00c5sa \u00d6berg", "correct-horse")
    members.add(db, cast.acme, user)
    id_ = submit("test.note", business="acme", user="asa@example.com", session=db)
    found = lists.search(db, cast.ada, TaskFilter(q=q))
    assert [row.task.id for row in found.rows] == [id_]
    assert [one.name for one in targets.users(db, cast.ada, q)] == ["\u00c5sa \u00d6berg"]
