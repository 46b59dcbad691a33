"""What holds after every step, whatever the step was: the invariants that rows alone can show.

The numbers are those of the engine's list: 3 tokens, 4 attempts, 5 stale tokens, 6 final, 7 second starts, 8 pauses,
9 order after a resume, 11 interrupts, 12 history, 13 business ids, 19 firings.
"""

from __future__ import annotations

import collections
from collections.abc import Collection

from tests.machine import oracle
from tests.machine.view import Row, View

AGAIN = {"retry", "lost"}  # an attempt that ended so may be followed by another one
LAST = {"completed": {"completed"}, "failed": {"failed", "lost"}}


class Broken(AssertionError):
    """The engine broke one of its promises."""


def need(fact: object, promise: str, *about: object) -> None:
    """Break off with the promise that was broken and the rows that show it."""
    if not fact:
        raise Broken(promise, *about)


def check(before: View, after: View, touched: Collection[int] | None, removed: Collection[int] = ()) -> None:
    """Between two views. `touched`: the tasks that this step may have changed, None for all of them."""
    for id_, old in before.tasks.items():
        new = after.tasks.get(id_)
        if new is None:
            need(id_ in removed and old.state in oracle.FINAL, "1: a row stays until somebody deletes it", old)
            continue
        _check_move(old, new, after)
        if touched is not None and id_ not in touched and new != _grouped(old, new):
            _check_settled(old, new)
    for task in after.tasks.values():
        _check_task(task, after.attempts_of(task.id))
    _check_history(before, after)
    _check_firings(after)


def _check_task(task: Row, attempts: list[Row]) -> None:
    held = task.claim_token is not None
    need(held == (task.lease_until is not None), "3: a token has a lease", task)
    need(held == (task.state in oracle.HELD), "3: what is at work has a token, and nothing else", task)
    need([one.number for one in attempts] == list(range(1, len(attempts) + 1)), "4: attempts count by one", attempts)
    need(task.attempts == len(attempts) + held, "4, 12: each start that ended has its attempt", task, attempts)
    need(task.attempts <= task.max_attempts, "4: never more attempts than allowed", task)
    need(not (task.state in oracle.WAITING and len(attempts) >= task.max_attempts), "16: it fails at its limit", task)
    before_last = attempts[:-1] if task.state in oracle.FINAL else attempts
    need(all(one.outcome in AGAIN for one in before_last), "7: a second start only after retry or lost", attempts)
    if task.state in LAST:
        need(attempts and attempts[-1].outcome in LAST[task.state], "12: the last attempt says how it ended", task)
    need((task.ended_at is not None) == (task.state in oracle.FINAL), "6: what is over has an end", task)
    need(all(one.business_id == task.business_id for one in attempts), "13: the business of an attempt", task)


def _check_move(old: Row, new: Row, after: View) -> None:
    need(new.state in oracle.AFTERWARDS[old.state], "6, 11: no such move", old, new)
    need(old.state not in oracle.FINAL or new == _grouped(old, new), "6: final is final", old, new)
    need(old.failure_id in (None, 0, new.failure_id), "6: a failure stays in its group", old, new)
    need(
        (new.failure_id is None) == (new.state != "failed"),
        "6: what failed is, or will be, in a group of failures",
        new,
    )
    for name in ("business_id", "user_id", "task_type", "created_at", "max_attempts"):
        need(getattr(old, name) == getattr(new, name), f"13: {name} never changes", old, new)
    if (old.state, new.state, old.attempts) == ("pending", "paused", new.attempts):
        need(oracle.is_held(after, new), "8: only what a pause means is set aside", new)
    if (old.state, new.state, old.attempts) == ("paused", "pending", new.attempts):
        need(not oracle.is_held(after, new), "8: what a pause means stays aside", new)


def _grouped(old: Row, new: Row) -> Row:
    """All that may change of a final task, once and of a failed one only: a beat puts it into its group of failures."""
    return old._replace(failure_id=new.failure_id)


def _check_settled(old: Row, new: Row) -> None:
    """A task that no step touched may only have been settled, which changes its mark and not its place."""
    need({old.state, new.state} == oracle.WAITING, "5, 8: this step was not about this task", old, new)
    need(old._replace(state=new.state) == new, "9: settling changes the mark alone", old, new)


def _check_history(before: View, after: View) -> None:
    for key, row in before.attempts.items():
        if key[0] in after.tasks:
            need(after.attempts.get(key) == row, "12: an attempt that is written never changes", row)
    for entry in after.entries.values():
        task = after.tasks.get(entry.task_id)
        need(task is not None and task.business_id == entry.business_id, "13: the business of an entry", entry)


def _check_firings(after: View) -> None:
    fired = [one for one in after.firings if one.outcome == "fired"]
    twice = [key for key, n in collections.Counter((one.schedule_id, one.due_at) for one in fired).items() if n > 1]
    need(not twice, "19: a due time fires once", twice)
    tasks = [task for task in after.tasks.values() if task.title == "by a schedule"]
    need(len(tasks) <= len(fired), "19: a task for each firing", tasks, fired)
