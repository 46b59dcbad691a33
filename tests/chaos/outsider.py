"""A process that submits and pauses, like a web server: `python -m tests.chaos.outsider`, to be broken by fail-points.

Its journal is the driver's: what it was answered counts, however it ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

import tests.failpoints  # noqa: F401 - it breaks this process where FAIL says
from config import Config
from jobs import queue, task_types
from tenants.database import connect
from tests.chaos.conductor import MODULE, unfinished
from tests.chaos.journal import Journal
from tests.chaos.people import People, admins

_BACKLOG = 40
_KINDS = [("quick", 0.003)] * 8 + [("longer", 0.15)] * 2 + [("longer", 0.8), ("flaky", 0.0), ("parent", 0.0)]


def main() -> None:
    """Submit as long as little waits; pause and resume in turns. Runs until it is ended."""
    config = Config.from_env()
    connect(config.database_url)
    queue.connect(config.redis_url)
    task_types.load((MODULE,))
    rng = random.Random(os.getpid())
    people = People(Journal(Path(os.environ["JOURNAL"])), _heard(admins), rng, name=f"outsider-{os.getpid()}")
    _heard(people.resume_all)
    for number in itertools.count():
        if unfinished() < _BACKLOG:
            people.submit(rng.sample(_KINDS, len(_KINDS)))
        if number % 10 == 0:
            _heard(people.resume_all)
            people.pause()
        time.sleep(0.05)


def _heard(look: Callable[[], Any]) -> Any:
    """What a look answers, however often its reply is lost. Anything else that it raises fails the run."""
    while True:
        with contextlib.suppress(SQLAlchemyError):
            return look()


if __name__ == "__main__":
    main()
