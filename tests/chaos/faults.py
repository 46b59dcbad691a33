"""What a run breaks: kill -9, freezing, and a broker that forgets. Each is written down with what it hit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from redis import Redis, RedisError

from tests.chaos.databases import Database
from tests.chaos.journal import Journal, Line, Witness
from tests.chaos.stack import SCHEDULER, WORKER, Member, Stack, gone
from tests.chaos.watcher import Watcher

KINDS = ("horse", "horse", "worker", "both", "scheduler")
_LOOK_SECONDS = 5.0
_FREE_SECONDS = 0.05


@dataclass(frozen=True)
class Faults:
    """The hand that breaks things."""

    stack: Stack
    database: Database
    journal: Journal
    witness: Witness
    watcher: Watcher
    rng: random.Random
    lease_seconds: float

    def kill(self, kind: str) -> None:
        """`kill -9` of a horse alone, of its parent alone, of both, or of a scheduler."""
        if kind == "scheduler":
            self._kill_scheduler()
            return
        found = self._find()
        if found is None:
            self.journal.write("skipped", what_not=f"kill {kind}", why="no horse was at work")
            return
        member, horses = found
        if kind == "horse":
            horses = [self._busiest(horses)]
        member.killed = kind != "horse"
        pids = {"horse": horses, "worker": [member.pid], "both": [member.pid, *horses]}[kind]
        hit = _Hit(kind, member, horses)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        survived = [pid for pid in horses if not gone(pid, 1.0)]
        victims = [line for pid in horses for line in self.witness.at_work(pid)]
        self._note(hit, victims, survived=survived)

    def freeze(self) -> None:
        """Stop a worker and its horse past the lease, then let them go on: zombies."""
        for _ in range(20):
            found = self._find(at_work=True)
            if found and self._freeze(*found):
                return
        self.journal.write("skipped", what_not="freeze", why="no horse at work could be frozen alone")

    def flush(self, count_ready: Callable[[], int]) -> None:
        """The broker forgets everything, while some worker is at work and tasks wait for a turn."""
        found, ready, at = self._find(at_work=True), count_ready(), time.monotonic()
        try:
            with Redis.from_url(self.stack.redis_url, socket_timeout=5) as redis:
                redis.flushall()
        except RedisError as error:
            self.journal.write("skipped", what_not="flush", why=str(error))
            return
        self.journal.write(
            "fault", kind="flush", since=at, ready=ready if found else 0, worker=None, pids=[], victims=[]
        )

    def kill_broker(self) -> None:
        """The broker is killed and comes back empty, a second later."""
        self.journal.write("fault", kind="broker", worker=None, pids=[], victims=[])
        self.stack.kill_broker(down_seconds=1.0)

    def strike_database(self) -> None:
        """The worst for the database of this run."""
        self.database.strike(self.stack, self.journal)

    def _kill_scheduler(self) -> None:
        members = self.stack.alive(SCHEDULER)
        if not members:
            self.journal.write("skipped", what_not="kill scheduler", why="none runs")
            return
        member = self.rng.choice(members)
        member.killed = True
        hit = _Hit("scheduler", member, [member.pid])
        os.kill(member.pid, signal.SIGKILL)
        self._note(hit, [])

    def _find(self, *, at_work: bool | None = None) -> tuple[Member, list[int]] | None:
        """A worker with a horse; two times out of three one whose handler has begun and not ended."""
        wanted = self.rng.random() < 2 / 3 if at_work is None else at_work
        ends_at = time.monotonic() + _LOOK_SECONDS
        while time.monotonic() < ends_at:
            members = self.stack.alive(WORKER)
            self.rng.shuffle(members)
            for member in members:
                horses = member.horses()
                if horses and (not wanted or any(self.witness.at_work(pid) for pid in horses)):
                    return member, horses
            time.sleep(0.002)
        return None

    def _busiest(self, horses: list[int]) -> int:
        """The one at work; else any, since a worker may keep one in reserve."""
        at_work = [pid for pid in horses if self.witness.at_work(pid)]
        return self.rng.choice(at_work or horses)

    def _freeze(self, member: Member, horses: list[int]) -> bool:
        pids = [member.pid, *horses]
        hit = _Hit("frozen", member, horses)
        member.frozen = True
        self._signal(pids, signal.SIGSTOP)
        time.sleep(_FREE_SECONDS)  # a system call that has begun may still end
        victims = [line for pid in horses for line in self.witness.at_work(pid)]
        if not victims or not self.database.is_free():
            self._signal(pids, signal.SIGCONT)
            member.frozen = False
            return False

        def thaw() -> None:
            self._signal(pids, signal.SIGCONT)
            member.frozen = False
            self.journal.write("thawed", pids=pids, since=hit.at)

        self._note(hit, victims)
        self.stack.later(self.lease_seconds + 3.0, thaw)
        return True

    def _signal(self, pids: list[int], what: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)

    def _note(self, hit: _Hit, victims: list[Line], **more: object) -> None:
        facts = {"since": hit.at, "since_wall": hit.wall, "worker": hit.member.pid, "pids": hit.horses}
        self.journal.write("fault", kind=hit.kind, **facts, victims=[line.start for line in victims], **more)
        for line in victims:
            self.watcher.watch(line.start, hit.kind, hit.at)


@dataclass(frozen=True)
class _Hit:
    """Who was hit, how and when: made right before it happens."""

    kind: str
    member: Member
    horses: list[int]
    at: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)
