"""A run: tasks come in, things break, people pause and interrupt, in an order that the seed decides."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from jobs import queue, task_types
from jobs.models import Task
from jobs.states import FINAL
from tenants.database import connect, migrate, transaction
from tests.chaos.databases import Database
from tests.chaos.faults import KINDS, Faults
from tests.chaos.journal import Journal, Witness
from tests.chaos.people import People, admins, move_in
from tests.chaos.profiles import Profile
from tests.chaos.stack import SCHEDULER, WORKER, Stack, lives
from tests.chaos.watcher import Watcher
from tests.waiting import until

MODULE = "tests.chaos.task_types"
_GATE_SECONDS = 2.0
_UP_SECONDS = 60.0
Act = tuple[str, object]


def plan(profile: Profile, rng: random.Random) -> list[Act]:
    """What is done, one after the other: tasks in small batches, and everything else scattered among them."""
    kinds = _kinds(profile, rng)
    batches: list[Act] = []
    while kinds:
        size = rng.randint(1, 20)
        batches.append(("submit", kinds[:size]))
        kinds = kinds[size:]
    extra: list[Act] = [("kill", KINDS[number % len(KINDS)]) for number in range(profile.kills)]
    extra += [("interrupt", rng.choice(["waiting", "running"])) for _ in range(profile.interrupts)]
    for act, number in (
        ("flush", profile.flushes),
        ("kill_broker", profile.broker_kills),
        ("strike_database", profile.database_strikes),
        ("freeze", profile.zombies),
        ("pause", profile.pauses),
    ):
        extra += [(act, None)] * number
    rng.shuffle(extra)
    return _spread(batches, extra, max(2, len(batches) // 15))


def _kinds(profile: Profile, rng: random.Random) -> list[tuple[str, float]]:
    rare = [("poison", 0.0)] * profile.poison + [("deaf", 2.0)] * profile.deaf
    usual = ["quick"] * 80 + ["flaky"] * 8 + ["longer"] * 7 + ["parent"] * 5
    kinds = list(rare)
    for _ in range(profile.tasks - len(rare)):
        kind = rng.choice(usual)
        kinds.append((kind, 0.3 if kind == "longer" else rng.uniform(0, 0.02)))
    rng.shuffle(kinds)
    return kinds


def _spread(batches: list[Act], extra: list[Act], pause_length: int) -> list[Act]:
    """The others evenly between the batches, none before the first tenth; each pause ends some batches later."""
    first, acts, ends = len(batches) // 10, [], []
    for number, batch in enumerate(batches):
        acts.append(batch)
        until = max(0, number - first + 1) * len(extra) // max(1, len(batches) - first)
        since = max(0, number - first) * len(extra) // max(1, len(batches) - first)
        for one in extra[since:until]:
            acts.append(one)
            if one[0] == "pause":
                ends.append(number + pause_length)
        acts += [("resume", None)] * ends.count(number)
    return acts


@dataclass
class Run:
    """One run of a profile on a database, in a folder that keeps what the oracle reads."""

    profile: Profile
    seed: int
    database: Database
    folder: Path
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "journal")
        self.witness = Witness(self.folder / "witness")

    def go(self) -> None:
        """All of it: start, act, wait for the last task, stop."""
        engine = connect(self.database.url)
        migrate(engine)
        task_types.load((MODULE,))
        rng = random.Random(self.seed)
        acts = plan(self.profile, rng)
        stack = self._stack()
        watcher = Watcher(self.journal, self.witness)
        move_in()
        self.people = People(self.journal, admins(), rng)
        self.watcher = watcher
        self.faults = Faults(stack, self.database, self.journal, self.witness, watcher, rng, self.profile.lease_seconds)
        queue.connect(stack.redis_url)
        stack.start()
        try:
            watcher.start()
            for name, what in acts:
                self._acts[name](self, what)
            self._drain()
        finally:
            watcher.stop()
            stack.stop()
            queue.flush()
            self.database.settle()
            self.journal.close()
            self.witness.read()
            self.seconds = time.monotonic() - self._began

    def _stack(self) -> Stack:
        environment = {
            **self.profile.settings(),
            "DATABASE_URL": self.database.url,
            "DATA_DIR": str(self.folder),
            "TASK_MODULES": MODULE,
            "WITNESS": str(self.folder / "witness"),
        }
        parts = {WORKER: self.profile.workers, SCHEDULER: self.profile.schedulers}
        return Stack(self.folder, environment, self.journal, parts)

    def _submit(self, kinds: object) -> None:
        ends_at = time.monotonic() + _GATE_SECONDS
        while self._backlog() > self.profile.backlog and time.monotonic() < ends_at:
            time.sleep(0.01)
        wanted: list[tuple[str, float]] = kinds  # type: ignore[assignment]
        ids = self.people.submit(wanted)
        self.watcher.poison |= {id_ for id_, (kind, _) in zip(ids, wanted, strict=True) if kind == "poison"}
        if not self.witness.begun:  # nothing is broken before the processes are up
            until(lambda: self.witness.read() or self.witness.begun, _UP_SECONDS)

    def _backlog(self) -> int:
        self.witness.read()
        return len(self.people.answered.keys() - self.witness.done - self.people.interrupted)

    def _interrupt(self, wanted: object) -> None:
        running = [line.task for line in self.witness.at_work() if lives(line.pid)]
        waiting = sorted(self.people.answered.keys() - self.witness.begun)
        found = {"running": running or waiting, "waiting": waiting or running}[str(wanted)]
        mine = [id_ for id_ in found if id_ in self.people.answered and id_ not in self.people.interrupted]
        if mine:
            self.people.interrupt(self.people.rng.choice(mine))

    def _drain(self) -> None:
        """Faults have stopped: everything becomes final."""
        self.database.settle()
        self.people.resume_all()
        self.journal.write("drained", unfinished=wait_for_the_last(self.profile.drain_seconds))
        self.people.count()

    _acts: ClassVar[dict[str, Callable[[Run, object], None]]] = {
        "submit": _submit,
        "interrupt": _interrupt,
        "pause": lambda self, _: self.people.pause(),
        "resume": lambda self, _: self.people.resume(),
        "kill": lambda self, kind: self.faults.kill(str(kind)),
        "flush": lambda self, _: self.faults.flush(self.people.ready),
        "kill_broker": lambda self, _: self.faults.kill_broker(),
        "strike_database": lambda self, _: self.faults.strike_database(),
        "freeze": lambda self, _: self.faults.freeze(),
    }


def unfinished() -> int:
    """How many tasks are not final; one if the database does not say."""
    query = select(func.count()).select_from(Task).where(Task.state.not_in(sorted(FINAL)))
    try:
        with transaction(read_only=True) as session:
            return session.scalar(query) or 0
    except SQLAlchemyError:
        return 1


def wait_for_the_last(seconds: float) -> int:
    """Return when every task is final, or after this time; how many are not."""
    ends_at = time.monotonic() + seconds
    while (left := unfinished()) and time.monotonic() < ends_at:
        time.sleep(0.1)
    return left
