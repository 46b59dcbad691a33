"""RQ: 2 `rq worker`, a forked process for each job. It keeps a hash, registries and the result of each job."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

from bench import witness

queue = Queue("bench", connection=Redis.from_url(os.environ["REDIS_URL"]))


def nothing(number: int) -> None:
    witness.mark(number)


def submit(number: int) -> None:
    queue.enqueue(nothing, number)
