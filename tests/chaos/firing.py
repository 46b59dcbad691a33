"""A schedule that is due every second, and whether each of its due times was fired once."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from jobs.schedule_models import Schedule
from tenants.clock import clock
from tenants.database import transaction
from tests.chaos.evidence import SCHEDULED, Evidence
from tests.chaos.journal import Journal
from tests.chaos.people import admins


def begin() -> datetime:
    """Make it, from now on; its first due time. People may have one every ten seconds, which would be a long test."""
    acme = admins()["acme"].business
    with transaction() as session:
        now: datetime = session.scalars(select(clock())).one()
        new = Schedule(
            business_id=acme.id,
            title="Each second",
            task_type="chaos.quick",
            payload={"call": SCHEDULED, "seconds": 0.003},
            interval_seconds=1,
            catch_up="all",
            overlap="queue",
            next_at=now,
        )
        session.add(new)
    return now


def end(journal: Journal, since: datetime) -> None:
    """Let it fire no more, and write down which due times there were."""
    with transaction() as session:
        one = session.scalars(select(Schedule).with_for_update()).one()
        assert one.next_at
        journal.write("schedule", since=since.isoformat(), till=one.next_at.isoformat())
        one.enabled, one.next_at = False, None


def not_fired_once(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Each due time has one firing, with a task of its own that was completed once; there are no other tasks."""
    for run in evidence.entries("schedule"):
        since, till = datetime.fromisoformat(run["since"]), datetime.fromisoformat(run["till"])
        due = [since + timedelta(seconds=number) for number in range(round((till - since).total_seconds()))]
        made = [row.id for row in evidence.tasks.values() if row.payload.get("call") == SCHEDULED]
        yield from _unlike("due times", due, (one.due_at for one in evidence.firings))
        yield from _unlike("tasks", made, (one.task for one in evidence.firings))
        for one in evidence.firings:
            outcomes = [row.outcome for row in evidence.rows_of.get(one.task or 0, [])]
            if one.outcome != "fired" or outcomes.count("completed") != 1:
                yield {"firing": one, "attempts": outcomes}


def _unlike(of: str, there: Iterable[Any], fired: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """What there is that no firing names, and what firings name that is not there, or name twice."""
    expected, named = collections.Counter(there), collections.Counter(fired)
    if expected != named:
        yield {"of": of, "without a firing": list(expected - named), "fired too often": list(named - expected)}
