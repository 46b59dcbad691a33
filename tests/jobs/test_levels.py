"""Priorities and start times together: claims take what is due in their order, whatever waits for later in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from jobs import claims, judge, levels
from jobs.models import Task
from tenants.database import transaction
from tests import look
from tests.factories import Cast

TOMORROW = datetime.now(UTC) + timedelta(days=1)


def add(cast: Cast, *about: tuple[int, datetime]) -> None:
    """A task of Ben for each priority and start time."""
    row = {"business_id": cast.acme.id, "user_id": cast.ben.user.id, "task_type": "test.note", "queue": "default"}
    with transaction() as session:
        session.execute(insert(Task), [{**row, "priority": priority, "next_try_at": at} for priority, at in about])


def claim(cast: Cast, limit: int) -> list[int]:
    with transaction() as session:
        judge.let_claims_pass(session, cast.acme.id)
        found = claims.claim(session, cast.acme.id, "default", limit=limit, worker="here", lease_seconds=60)
    return [one.id for one in found]


def any_ready(cast: Cast) -> bool:
    with transaction(read_only=True) as session:
        return claims.any_ready(session, cast.acme.id, "default")


def due_in_order() -> list[int]:
    return look.scalars(select(Task.id).where(Task.next_try_at < TOMORROW).order_by(*Task.claim_order()))


@pytest.mark.parametrize("priorities", [1, levels.MOST, levels.MOST + 1, 3 * levels.MOST])
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_what_is_due_is_claimed_in_order_between_what_is_not(
    db: Session, cast: Cast, priorities: int, limit: int
) -> None:
    now = datetime.now(UTC)
    ago = [now - timedelta(seconds=one * 7 % 5) for one in range(3 * priorities)]
    add(cast, *((one % priorities, at) for one, at in enumerate(ago)))
    add(cast, *((priority, TOMORROW) for priority in range(-1, priorities + 1)))
    claimed: list[int] = []
    while more := claim(cast, limit):
        assert len(more) == min(limit, len(ago) - len(claimed)), "a batch is as full as it can be"
        claimed += more
    assert claimed == due_in_order()
    assert len(claimed) == len(ago)


@pytest.mark.parametrize("above", [1, levels.MOST - 1, levels.MOST, 3 * levels.MOST])
def test_a_task_below_many_priorities_that_wait_is_ready_and_claimed(db: Session, cast: Cast, above: int) -> None:
    add(cast, *((priority + 1, TOMORROW) for priority in range(above)))
    assert not any_ready(cast)
    assert claim(cast, 9) == []
    add(cast, (0, datetime.now(UTC) - timedelta(seconds=1)))
    assert any_ready(cast)
    assert claim(cast, 9) == due_in_order()
