"""Demo tasks: some to begin with, and a steady, modest trickle so that there is something to see."""

from __future__ import annotations

import random
import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.models import Task
from jobs.states import FINAL
from jobs.submitting import submit
from tenants.database import transaction

_EVERY_SECONDS = 3.0
_FLOOD = 100  # two workers need minutes for so many: time to log in, and to look around
_ENOUGH = 150  # unfinished tasks: a paused demo must not grow for ever

_ADA, _BEN, _CLEO, _ZOE = (f"{name}@example.com" for name in ("ada", "ben", "cleo", "zoe"))
_KINDS: list[tuple[str, str | None, str, dict[str, Any], str]] = [
    ("acme", _BEN, "test.count", {"times": 3}, "Count the stock"),
    ("acme", _BEN, "test.count", {"times": 2}, "Recount shelf 7"),
    ("acme", _CLEO, "test.count", {"times": 2}, "Count returns"),
    ("acme", _ADA, "tasks.export", {"filter": {}}, "Task history for the board"),
    ("acme", None, "script.execute", {"script": "report_sizes"}, "Nightly size report"),
    ("acme", None, "script.execute", {"script": "prune_exports", "arguments": ["7"]}, "Prune old exports"),
    ("globex", _ADA, "test.count", {"times": 2}, "Count pallets"),
    ("initech", _ZOE, "test.count", {"times": 2}, "Count staplers"),
    ("initech", _ZOE, "tasks.export", {"filter": {"state": "failed"}}, "Failures of the week"),
    ("initech", None, "script.execute", {"script": "report_sizes"}, "Size report"),
]


def fill(session: Session) -> None:
    """The first tasks. Ben's are many: he is the one to pause."""
    for _ in range(_FLOOD):
        _submit(session, _KINDS[0])
    for kind in _KINDS:
        _submit(session, kind)


class Trickle:
    """One task every few seconds, as long as not too many wait. The scheduler's beat calls it."""

    def __init__(self) -> None:
        self._next_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _EVERY_SECONDS
        with transaction() as session:
            unfinished = select(func.count()).select_from(Task).where(Task.state.not_in(sorted(FINAL)))
            if (session.scalar(unfinished) or 0) < _ENOUGH:
                _submit(session, random.choice(_KINDS))  # noqa: S311 - it is a demo


def _submit(session: Session, kind: tuple[str, str | None, str, dict[str, Any], str]) -> None:
    business, user, task_type, payload, title = kind
    submit(task_type, business=business, user=user, payload=payload, title=title, session=session)
