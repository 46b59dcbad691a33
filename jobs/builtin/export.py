"""`tasks.export`: the task history of a business, as filtered, as a CSV or JSON file for its user."""

from __future__ import annotations

from typing import Literal

from jobs.context import TaskContext
from jobs.files import EXPORT
from jobs.task_types import task_type


@task_type(EXPORT, title="Export tasks", queue="exports")
def export(
    task: TaskContext,
    *,
    filter: dict[str, str] | None = None,  # noqa: A002 - as in the address
    view: str = "all",
    zone: str = "UTC",
    format: Literal["csv", "json"] = "csv",  # noqa: A002 - as in the form
) -> dict[str, str | int]:
    """Write all tasks that the user may see and `filter`, a query string's values, matches in the list `view`.

    Its days are those of the time `zone`.
    """
    from jobs import exports  # only a horse that writes one needs what lists know, 1 MB

    return exports.write(task, filter or {}, view, zone, format)
