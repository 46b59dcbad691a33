"""The state machine: everything that may happen, in any order, against the real engine; and the bugs it must find.

Each run is the same, so that nobody's push fails by chance. To hunt for what it has not met yet, run
`MACHINE_EXAMPLES=1000 .venv/bin/python -m pytest tests/jobs/test_machine.py`: that draws anew each time, and prints
what repeats a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError

from jobs import settling
from tests.machine import handlers, invariants
from tests.machine.machine import Machine
from tests.machine.mutants import MUTANTS, Mutant, planted

HUNT = int(os.environ.get("MACHINE_EXAMPLES", "0"))
USUAL: dict[str, Any] = {
    "deadline": None,
    "derandomize": not HUNT,
    "database": None,
    "print_blob": True,
    "phases": [Phase.generate],  # shrinking a thousand transactions takes minutes; the steps are short as they are
    "report_multiple_bugs": False,
    "suppress_health_check": list(HealthCheck),  # a step is a dozen transactions: it is slow, and large
}


@pytest.fixture(autouse=True)
def _quick(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody cuts the power, and nothing runs beside the machine that a pause would have to wait for."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=OFF"))
        engine.dispose()
    monkeypatch.setattr(settling, "ANSWER_SECONDS", 0.0)
    with handlers.registered():
        yield


def test_everything_in_any_order(engine: Engine) -> None:
    examples = HUNT or {"sqlite": 25, "postgresql": 5}[engine.dialect.name]
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=30, **USUAL))


class Found(BaseException):
    """A promise was broken, as it had to be. Not an Exception, or hypothesis would do it all again to report it."""


class Hunter(Machine):
    """The machine without the end of each run: what a bug breaks shows before."""

    def come_to_an_end(self) -> None:
        """Nothing more."""


def hunt() -> None:
    """Many short hunts, from as many starts: one long hunt tries variations of what it has tried."""
    for number in range(20):
        few = settings(max_examples=8, stateful_step_count=15, **USUAL)
        run_state_machine_as_test(seed(number)(Hunter), settings=few)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_planted_bug_is_found(engine: Engine, mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "Broken", Found)
    with planted(mutant) as calls, pytest.raises((Found, IntegrityError)):
        hunt()
    assert calls, "what finds it has come by the bug"
