"""Celery: one prefork worker of 2 processes, no result backend. It acknowledges a task before it runs."""

from __future__ import annotations

import os

from celery import Celery

from bench import witness

app = Celery("bench", broker=os.environ["REDIS_URL"])


@app.task
def nothing(number: int) -> None:
    witness.mark(number)


def submit(number: int) -> None:
    nothing.delay(number)
