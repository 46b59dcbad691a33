"""Acts of Sluice alone: a business with work for its scheduler."""

from __future__ import annotations

from dataclasses import replace

from bench.contenders import sluice, sluice_pages
from jobs import schedules
from jobs.schedules import Draft
from tenants.database import transaction

_EVERY_SECONDS = 10  # no schedule may fire more often
ready = sluice.ready


def sow(tasks: int, plans: int) -> None:
    """Fill the database, and let so many schedules begin."""
    sluice_pages.sow(tasks, businesses=5, users=500)
    every = Draft("Nothing", "bench.nothing", {"number": 0}, interval_seconds=_EVERY_SECONDS, overlap="queue")
    with transaction() as session:
        for number in range(plans):
            schedules.create(session, sluice_pages.admin(), replace(every, title=f"Schedule {number}"))
