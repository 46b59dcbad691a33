"""What runs: task types, tasks, turns and pauses. This is the embedding API; see `docs/embedding.md`."""

from jobs.attempts import Interrupted, Retry, TimedOut
from jobs.context import TaskContext
from jobs.hosts import node_lookup
from jobs.inline import Held, Inline, run_inline
from jobs.submitting import submit, submit_many
from jobs.task_types import task_type
from jobs.unique import DuplicateTask

__all__ = [
    "DuplicateTask",
    "Held",
    "Inline",
    "Interrupted",
    "Retry",
    "TaskContext",
    "TimedOut",
    "node_lookup",
    "run_inline",
    "submit",
    "submit_many",
    "task_type",
]
