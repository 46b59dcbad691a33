"""`tasks.bulk`: one act on all tasks that a filter matched when somebody asked for it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from jobs.context import TaskContext
from jobs.task_types import task_type


@task_type("tasks.bulk", title="Act on many tasks", queue="operations", max_attempts=3)
def act_on_all(
    task: TaskContext,
    *,
    act: str,
    filter: dict[str, str],  # noqa: A002 - as in the address
    view: str,
    zone: str,
    last_id: int,
    priority: int = 0,
) -> dict[str, object]:
    """Do it to each matching task up to `last_id`, a chunk at a time. A retry goes through all of them again."""
    from jobs import sweeps  # only a horse that does this needs what lists know, 1 MB
    from jobs.bulk import Act, Order
    from jobs.filters import TaskFilter, View

    wanted = TaskFilter.from_args(filter, view=View(view), zone=ZoneInfo(zone))
    return sweeps.sweep(task, Order(Act(act), priority), wanted, last_id)
