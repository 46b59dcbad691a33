"""Huey: one consumer of 2 processes. It pops a task and forgets it: what a lost worker held is lost."""

from __future__ import annotations

import os

from huey import RedisHuey

from bench import witness

huey = RedisHuey("bench", url=os.environ["REDIS_URL"])


@huey.task()
def nothing(number: int) -> None:
    witness.mark(number)


def submit(number: int) -> None:
    nothing(number)
