"""Flower: one process with one loop. It keeps in memory what the events of workers told it, 100,000 tasks at most."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flower.events import Events

from bench.contenders.celery import app, nothing

_STATE = Path(os.environ["BENCH_FOLDER"]) / "flower"


def sow(count: int) -> int:
    """Write the state that it begins with: of so many tasks half are done, half wait in a worker; how many it holds."""
    events = Events(app, None, db=str(_STATE), max_tasks_in_memory=count)
    for event in _events(count):
        events.state.event(event)
    events.save_state()
    return len(events.state.tasks)


def _events(count: int) -> Iterator[dict[str, Any]]:
    """What a worker tells of one task a second, in the order in which it happens."""
    began = time.time() - count
    for number in range(count):
        about = {"uuid": f"00000000-0000-4000-8000-{number:012}", "hostname": "celery@bench", "pid": 1, "clock": number}
        told = {"name": nothing.name, "args": f"({number},)", "kwargs": "{}", "retries": 0, "eta": None}
        yield _event("task-received", began + number, {**about, **told})
        if number < count // 2:
            yield _event("task-started", began + number + 0.1, about)
            yield _event("task-succeeded", began + number + 0.2, {**about, "result": "None", "runtime": 0.1})


def _event(kind: str, at: float, about: dict[str, Any]) -> dict[str, Any]:
    return {**about, "type": kind, "timestamp": at, "local_received": at, "utcoffset": 0}
