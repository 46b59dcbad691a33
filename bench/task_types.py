"""The task that benchmarks run: none at all."""

from jobs import TaskContext, task_type


@task_type("bench.nothing", title="Nothing", queue="bench")
def nothing(task: TaskContext) -> None:  # noqa: ARG001 - the point is what it costs to call it
    return None
