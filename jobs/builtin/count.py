"""`test.count`: counts numbers, to try Sluice out with."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field

from jobs.context import TaskContext
from jobs.task_types import task_type

_NUMBERS = 50  # a round


@task_type("test.count", title="Count numbers")
def count(task: TaskContext, *, times: Annotated[int, Field(ge=1, le=3600)]) -> dict[str, int]:
    """Count fifty numbers a round, for `times` rounds of about a second."""
    number = 0
    for round_ in range(1, times + 1):
        with task.step(f"Round {round_} of {times}"):
            for _ in range(_NUMBERS):
                number += 1
                time.sleep(1 / _NUMBERS)
        task.progress(round_, times)
    task.log(f"Counted to {number:,}.")
    return {"counted": number}
