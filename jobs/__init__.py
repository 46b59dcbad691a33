"""What runs: task types, tasks, turns and pauses. This is the embedding API; see `docs/embedding.md`."""

from jobs.attempts import Interrupted, Retry, TimedOut
from jobs.context import TaskContext
from jobs.task_types import task_type
from jobs.tasks import submit

__all__ = ["Interrupted", "Retry", "TaskContext", "TimedOut", "submit", "task_type"]
