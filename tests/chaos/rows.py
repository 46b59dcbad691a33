"""The rows against themselves and against the witness: states, tokens, attempts, ends."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from jobs.states import FINAL
from tests.chaos.evidence import Evidence, TaskRow

_MOST = 10_000  # a list counts no further
_ENDS = {"completed", "failed", "canceled"}


def unfinished(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """When faults have stopped, every row becomes final."""
    for row in evidence.tasks.values():
        if row.state not in FINAL:
            yield {"row": row, "attempts": evidence.rows_of.get(row.id, [])}


def token_without_lease(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A token and a lease come together, with `running` and perhaps `cancelling`, and with nothing else."""
    for row in evidence.tasks.values():
        held = row.token is not None
        if (
            held != (row.lease_until is not None)
            or (held and row.state not in ("running", "cancelling"))
            or (row.state == "running" and not held)
        ):
            yield {"row": row}


def attempts_do_not_add_up(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """One row for each start, numbered from one without a gap, never past the limit."""
    for row in evidence.tasks.values():
        numbers = [one.number for one in evidence.rows_of.get(row.id, [])]
        expected = list(range(1, row.attempts + 1))
        if row.state in FINAL and (numbers != expected or row.attempts > row.max_attempts):
            yield {"row": row, "numbers": numbers}


def finished_twice(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """At most one attempt ends a task, and it is the last one."""
    for id_, attempts in evidence.rows_of.items():
        ends = [one.number for one in attempts if one.outcome in _ENDS]
        if len(ends) > 1 or (ends and ends[0] != attempts[-1].number):
            yield {"task": id_, "attempts": attempts}


def finish_nobody_saw(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A completed task has an attempt that completed, whose handler came to its end, and whose result is its own."""
    for row in evidence.tasks.values():
        attempts = evidence.rows_of.get(row.id, [])
        completed = [one for one in attempts if one.outcome == "completed"]
        if (row.state == "completed") != bool(completed):
            yield {"row": row, "attempts": attempts}
        for one in completed:
            end = evidence.ends.get(one.start)
            own = {"attempt": one.number, "pid": end.pid if end else None}
            if end is None or end.detail != "done" or one.result != own:
                yield {"attempt": one, "end": end}


def wrong_end(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Poison fails, what was interrupted is canceled, and all else is completed: no neighbour fails."""
    interrupted = {one["task"] for one in evidence.entries("interrupt") if one["answer"] is not None}
    unheard = evidence.perhaps_interrupted() - interrupted
    for row in evidence.tasks.values():
        if row.state not in FINAL or row.id in interrupted:
            continue
        may = {"failed"} if row.kind == "poison" else {"completed"}
        if row.state not in may | ({"canceled"} if row.id in unheard else set()):
            yield {"row": row, "attempts": evidence.rows_of.get(row.id, [])}


def another_business(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Task, attempt and handler agree on the business."""
    for one in evidence.attempts:
        if not _is_of(evidence.tasks.get(one.task), one.business):
            yield {"attempt": one, "row": evidence.tasks.get(one.task)}
    for line in evidence.begins:
        if not _is_of(evidence.tasks.get(line.task), line.business):
            yield {"begin": line, "row": evidence.tasks.get(line.task)}


def _is_of(row: TaskRow | None, business: str) -> bool:
    return row is not None and row.business == business


def counted_otherwise(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """What the lists of a business count in each state, and in all, are its rows."""
    for one in evidence.entries("counted"):
        there = collections.Counter(row.state for row in evidence.tasks.values() if row.business == one["business"])
        expected = {state: min(number, _MOST) for state, number in (*there.items(), ("all", there.total()))}
        shown = {state: number for state, number in one["shown"].items() if number}
        if shown != expected:
            yield {"counted": one, "rows": expected}
