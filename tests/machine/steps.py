"""One step of the machine, the claims that it has in its hands, and the numbers it goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.attempts import Claim
from tests.machine import handlers
from tests.machine.invariants import need
from tests.machine.view import Row, View

LEASE = 1000.0  # seconds; real ones must not matter, however slow this computer is
WORKERS = ("one", "two")
QUEUES = sorted(set(handlers.QUEUE_OF.values()))
TYPES = sorted(handlers.QUEUE_OF)


@dataclass(frozen=True)
class Held:
    """A claim in the hands of a worker, as the worker knows it: it may be stale."""

    claim: Claim
    worker: str


@dataclass
class Step:
    """One step: what was before, and after it what is."""

    before: View
    after: View = field(init=False)

    def pair(self, task_id: int) -> tuple[Row, Row]:
        """A task before and after."""
        return self.before.tasks[task_id], self.after.tasks[task_id]

    def need_nothing_changed(self, why: str) -> None:
        """Not a single row is different."""
        for name in ("tasks", "attempts", "entries", "pauses", "firings"):
            need(getattr(self.before, name) == getattr(self.after, name), why, name)


def pick(choices: Sequence[Any], number: int) -> Any:
    """One of them: a number means the same one each time, however many there are."""
    return choices[number % len(choices)]
