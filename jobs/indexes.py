"""The indexes of the tables in `jobs.models`. Only migrations read them: each that is partial loads both dialects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, text

from jobs.models import WAITS, Entry, Failure, Limit, Pause, Task
from jobs.schedule_models import Schedule
from tenants.database import Base, table

_CLAIM_ORDER = ("business_id", "queue", "priority DESC", "next_try_at", "id")
_IS_FINAL = "state IN ('canceled', 'completed', 'failed')"


def _index(of: type[Base], name: str, *columns: str, where: str = "", unique: bool = False) -> None:
    """Over columns of a table, or over expressions of them; with `where` only over the rows of which it is true."""
    columns_of = table(of).c
    condition: dict[str, Any] = {f"{name}_where": text(where) for name in ("sqlite", "postgresql") if where}
    Index(name, *(columns_of.get(one, text(one)) for one in columns), unique=unique, **condition)


_index(Task, "ix_tasks_user", "business_id", "user_id", "created_at", "id")
_index(Task, "ix_tasks_type", "business_id", "task_type", "created_at", "id")
_index(Task, "ix_tasks_title", "business_id", "sort_title", "id")

# Claims
_index(Task, "ix_tasks_pending", *_CLAIM_ORDER, where="state = 'pending'")
_index(Task, "ix_tasks_paused", *_CLAIM_ORDER, where="state = 'paused'")
_index(Task, "ix_tasks_leased", "lease_until", where="lease_until IS NOT NULL")
_index(Task, "ix_tasks_cancelling", "business_id", "id", where="state = 'cancelling'")
_index(Task, "ix_tasks_unique_key", "business_id", "unique_key", "id", where="unique_key IS NOT NULL")
_index(Task, "ix_tasks_undo", "undo_until", where="undo_until IS NOT NULL")

# Links
_index(Task, "ix_tasks_parent", "business_id", "parent_id", where="parent_id IS NOT NULL")
_index(Task, "ix_tasks_rerun", "business_id", "rerun_of", where="rerun_of IS NOT NULL")
_index(Task, "ix_tasks_ref", "business_id", "ref", "id", where="ref IS NOT NULL")

# Lists: what waits, which a claim takes out again, and what is final, which is written once
_index(Task, "ix_tasks_waiting", "business_id", "id", where=WAITS)
_index(Task, "ix_tasks_waiting_created", "business_id", "created_at", "id", where=WAITS)
_index(Task, "ix_tasks_waiting_type", "business_id", "task_type", "id", where=WAITS)
_index(Task, "ix_tasks_waiting_title", "business_id", "sort_title", "id", where=f"{WAITS} AND title IS NOT NULL")
_index(Task, "ix_tasks_waiting_untitled", "business_id", "id", where=f"{WAITS} AND title IS NULL")
_index(Task, "ix_tasks_waiting_priority", "business_id", "priority", "id", where=f"{WAITS} AND priority <> 0")
_index(Task, "ix_tasks_waiting_attempts", "business_id", "attempts", "id", where=f"{WAITS} AND attempts > 0")
_index(Task, "ix_tasks_final_created", "business_id", "created_at", "id", where=_IS_FINAL)
_index(Task, "ix_tasks_final_state", "business_id", "state", "id", where=_IS_FINAL)
_index(Task, "ix_tasks_failure", "business_id", "failure_id", "created_at", "id", where="failure_id IS NOT NULL")

_index(Entry, "ix_entries_task", "business_id", "task_id", "id")
_index(Failure, "ix_failures_last", "business_id", "state", "last_at", "id")
_index(Pause, "ix_pauses_unsettled", "business_id", where="settled_at IS NULL")
_index(Pause, "ix_pauses_business_id", "business_id", "id")
_index(Limit, "uq_limits_business", "business_id", where="task_type IS NULL", unique=True)
_index(Schedule, "ix_schedules_next", "next_at", where="next_at IS NOT NULL")
