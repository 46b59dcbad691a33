"""SQLite has one write lock, and a door before it, so that people never starve behind busy claimers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from tenants.database import transaction
from tests.locks import is_locked
from tests.machine.mutants import Mutant, planted
from tests.waiting import until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def people_pass_claimers(engine: Engine, seconds: float = 15.0) -> None:
    """Who waits for the write lock with claimers behind them is served before those."""
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def write(name: str, **options: bool) -> None:
        with transaction(**options) as session:
            session.execute(select(1))
            order.append(name)
            if name == "first":
                inside.set()
                go_on.wait()

    with ThreadPoolExecutor(6) as threads:
        threads.submit(write, "first")
        try:
            inside.wait()
            threads.submit(write, "person")
            until(lambda: is_locked(Path(f"{engine.url.database}.turnstile")), seconds)
            for _ in range(4):
                threads.submit(write, "claimer", claims=True)
        finally:
            go_on.set()
    assert order == ["first", "person", *["claimer"] * 4]


def test_people_pass_claimers_at_the_turnstile(engine: Engine) -> None:
    people_pass_claimers(engine)


def test_a_turnstile_that_nobody_stands_in_is_found(engine: Engine) -> None:
    bug = Mutant("an open door", "tenants.sqlite:_at_turnstile", "fcntl.flock(door, fcntl.LOCK_EX)", "pass")
    with planted(bug) as calls, pytest.raises(AssertionError):
        people_pass_claimers(engine, seconds=1.0)
    assert calls, "what finds it has come by the bug"
