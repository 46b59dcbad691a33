"""Dramatiq: 2 processes of 8 threads. It acknowledges a message when its handler is through."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import witness

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def nothing(number: int) -> None:
    witness.mark(number)


def submit(number: int) -> None:
    nothing.send(number)
