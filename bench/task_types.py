"""The task types that benchmarks run."""

from __future__ import annotations

import time

from bench import witness
from jobs import TaskContext, task_type


@task_type("bench.nothing", title="Nothing", queue="bench")
def nothing(task: TaskContext, *, number: int) -> None:  # noqa: ARG001 - the point is what it costs to call it
    witness.mark(number)


@task_type("bench.short", title="Ten milliseconds", queue="bench")
def short(task: TaskContext, *, number: int) -> None:  # noqa: ARG001
    witness.mark(number)
    time.sleep(0.01)
