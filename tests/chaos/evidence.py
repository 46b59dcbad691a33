"""All that the oracle judges by: the witness, the journal, and the rows as they are at the end."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from jobs.models import Attempt, Task
from jobs.schedule_models import Firing
from tenants.database import transaction
from tenants.models import Business, User
from tests.chaos.journal import Journal, Line, Witness
from tests.chaos.profiles import Profile

SCHEDULED = "scheduled"  # the call of a schedule's tasks: all of them, for they share its payload


@dataclass(frozen=True)
class TaskRow:
    """A task as it is at the end."""

    id: int
    business: str
    user: str | None
    task_type: str
    state: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int
    token: str | None = None
    lease_until: datetime | None = None

    @property
    def kind(self) -> str:
        """The type's last word."""
        return self.task_type.rpartition(".")[2]


@dataclass(frozen=True)
class AttemptRow:
    """A row of an attempt. `ended_at` is in seconds of the journal's monotonic clock."""

    task: int
    business: str
    number: int
    outcome: str
    pid: int | None
    ended_at: float
    result: Any = None

    @property
    def start(self) -> tuple[int, int]:
        """Which start of which task."""
        return self.task, self.number


@dataclass(frozen=True)
class FiringRow:
    """A due time of a schedule that was decided, and the task made for it."""

    due_at: datetime
    outcome: str
    task: int | None


@dataclass(frozen=True)
class Evidence:
    """What happened, from three sides. Times are seconds of the machine's monotonic clock."""

    profile: Profile
    lines: list[Line]
    journal: list[dict[str, Any]]
    tasks: dict[int, TaskRow]
    attempts: list[AttemptRow]
    firings: list[FiringRow] = field(default_factory=list)

    @functools.cached_property
    def begins(self) -> list[Line]:
        """Every begin, in time."""
        return sorted((line for line in self.lines if line.word == "begin"), key=lambda line: line.at)

    @functools.cached_property
    def begins_of(self) -> dict[int, list[Line]]:
        """The begins of each task, in time."""
        return _grouped((line.task, line) for line in self.begins)

    @functools.cached_property
    def ends(self) -> dict[tuple[int, int], Line]:
        """The end of each start; the last one, if there are two."""
        return {line.start: line for line in self.lines if line.word == "end"}

    @functools.cached_property
    def rows_of(self) -> dict[int, list[AttemptRow]]:
        """The attempts of each task, by number."""
        return _grouped((row.task, row) for row in sorted(self.attempts, key=lambda row: row.number))

    @functools.cached_property
    def row(self) -> dict[tuple[int, int], AttemptRow]:
        """The attempt of each start."""
        return {row.start: row for row in self.attempts}

    def entries(self, what: str, **facts: Any) -> list[dict[str, Any]]:
        """The journal's entries of this kind."""
        wanted = {"what": what, **facts}.items()
        return [one for one in self.journal if all(one.get(name) == value for name, value in wanted)]

    def faults(self, *kinds: str) -> list[dict[str, Any]]:
        """The faults of these kinds."""
        return [one for one in self.entries("fault") if one["kind"] in kinds]

    @functools.cached_property
    def freezes(self) -> list[tuple[set[int], float, float]]:
        """Which processes were frozen from when to when."""
        return [(set(one["pids"]), one["since"], one["at"]) for one in self.entries("thawed")]

    def was_frozen(self, pid: int, since: float, till: float) -> bool:
        """Whether a process was frozen at some moment between these."""
        return any(pid in pids and since <= woke and stopped <= till for pids, stopped, woke in self.freezes)

    def covers(self, pause: dict[str, Any], task: int) -> bool:
        """Whether a pause of the journal is about this task."""
        row = self.tasks.get(task)
        return (
            row is not None
            and pause["business"] == row.business
            and pause["user"] in (None, row.user)
            and pause["task_type"] in (None, row.task_type)
        )

    def resumed(self, pause: dict[str, Any]) -> float:
        """When the first call that ends this pause was sent, answered or not; for ever, if none was."""
        asked = (one["at"] for one in self.entries("asking", of="resume", pause=pause["answer"]))
        return min(asked, default=float("inf"))

    def was_paused(self, task: int, since: float, till: float) -> bool:
        """Whether a pause may have held the task back in this time. One that failed may stand all the same."""
        return any(
            self.covers(pause, task) and pause["asked"] < till and since < self.resumed(pause) + 1
            for pause in self.entries("pause")
        )

    def ready_at(self, at: float) -> int:
        """How many tasks waited then that no pause held and nobody stopped, for at least a second."""
        begun = {task: lines[0].at for task, lines in self.begins_of.items()}
        stopped = self.perhaps_interrupted()
        submitted = [one["answer"] for one in self.entries("submit") if one["at"] < at and not one["raised"]]
        waiting = [task for task in submitted if begun.get(task, float("inf")) > at and task not in stopped]
        return sum(not self.was_paused(task, at - 1, at + 1) for task in waiting)

    def left_out(self) -> dict[str, str]:
        """Which faults of the profile mostly did not happen, so that a run says little: done of planned."""
        kinds = {
            "kills": ("horse", "worker", "both", "scheduler"),
            "flushes": ("flush",),
            "broker_kills": ("broker",),
            "database_strikes": ("mid-write", "database restart"),
            "zombies": ("frozen",),
        }
        done = {name: (len(self.faults(*some)), getattr(self.profile, name)) for name, some in kinds.items()}
        return {name: f"{made} of {planned}" for name, (made, planned) in done.items() if 2 * made < planned}

    def perhaps_interrupted(self) -> set[int]:
        """Tasks that somebody asked to stop, whatever the answer was, and whether or not it was heard."""
        return {one["task"] for one in self.entries("asking", of="interrupt")}

    @functools.cached_property
    def away(self) -> dict[str, list[tuple[float, float]]]:
        """When a part was away that must be there for a loss to be noticed: broker, database or scheduler."""
        leaderless = 3 * max(1.0, self.profile.beat_seconds) + 2  # its lock runs out, and another one starts
        times = _grouped((one["of"], (one["since"], one["till"] + 2)) for one in self.entries("outage"))
        return {**times, "scheduler": [(one["since"], one["since"] + leaderless) for one in self.faults("scheduler")]}

    def allowance(self, since: float, till: float, *parts: str) -> float:
        """For how much of this time one of these parts was away."""
        total, reached = 0.0, since
        for began, ended in sorted(time for part in parts for time in self.away.get(part, [])):
            total += max(0.0, min(ended, till) - max(began, reached))
            reached = max(reached, ended)
        return total


def collect(profile: Profile, folder: Path) -> Evidence:
    """Read everything, after a run."""
    witness, journal = Witness(folder / "witness"), Journal.read(folder / "journal")
    witness.read()
    offset = journal[0]["wall"] - journal[0]["at"]
    with transaction(read_only=True) as session:
        names = dict(map(tuple, session.execute(select(Business.id, Business.slug))))
        emails = dict(map(tuple, session.execute(select(User.id, User.email))))
        tasks = {
            one.id: TaskRow(
                one.id,
                names[one.business_id],
                emails.get(one.user_id) if one.user_id else None,
                one.task_type,
                str(one.state),
                one.payload,
                one.attempts,
                one.max_attempts,
                one.claim_token,
                one.lease_until,
            )
            for one in session.scalars(select(Task))
        }
        attempts = [
            AttemptRow(
                one.task_id,
                names[one.business_id],
                one.number,
                one.outcome,
                one.pid,
                one.ended_at.timestamp() - offset,
                one.result,
            )
            for one in session.scalars(select(Attempt))
        ]
        firings = [FiringRow(one.due_at, one.outcome, one.task_id) for one in session.scalars(select(Firing))]
    return Evidence(profile, witness.lines, journal, tasks, attempts, firings)


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = collections.defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups
