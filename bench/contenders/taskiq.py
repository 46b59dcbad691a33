"""Taskiq: 2 processes on a Redis list. It pops a task and forgets it."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import ListQueueBroker

from bench import witness

broker = ListQueueBroker(os.environ["REDIS_URL"])
_loop = asyncio.new_event_loop()


@broker.task
async def nothing(number: int) -> None:
    witness.mark(number)


def ready() -> None:
    _loop.run_until_complete(broker.startup())


def submit(number: int) -> None:
    _loop.run_until_complete(nothing.kiq(number))
