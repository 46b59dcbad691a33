"""The processes of a run, and their supervisor: what dies is started again at once, as systemd would."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from processes import dying_with_me
from tests.chaos.journal import Journal
from tests.servers import Valkey
from tests.waiting import until

ROOT = Path(__file__).parents[2]
WORKER, SCHEDULER = "jobs.worker", "jobs.scheduler"
_STOP_SECONDS = 8.0


@dataclass
class Member:
    """A worker, a scheduler or whoever else: the process that plays it now."""

    module: str
    process: subprocess.Popen[bytes]
    killed: bool = False
    frozen: bool = False

    @property
    def pid(self) -> int:
        """Of the parent: a worker's horses have their own."""
        return self.process.pid

    def horses(self) -> list[int]:
        """The processes that it forked and that live."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split() if lives(int(pid))]


@dataclass
class Stack:
    """A broker, and processes around one database: `parts` tells how many run of each module.

    One thread starts them all and outlives them: each dies with the thread that started it.
    """

    folder: Path
    environment: Mapping[str, str]
    journal: Journal
    parts: Mapping[str, int]
    members: list[Member] = field(default_factory=list)
    broker: Valkey | None = None

    def __post_init__(self) -> None:
        self.redis_url = f"unix://{self.folder}/r.sock?db=0"
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._retired: set[str] = set()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._up = threading.Event()
        self._log = (self.folder / "processes.log").open("ab")
        self._thread = threading.Thread(target=self._supervise, name="supervisor")

    def start(self) -> None:
        """Start everything; return when the broker answers."""
        self._thread.start()
        if not self._up.wait(30):
            raise TimeoutError("the broker did not come up")

    def stop(self) -> None:
        """End everything, politely first."""
        self._over.set()
        self._thread.join()
        self._log.close()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Have the supervisor do something then."""
        with self._lock:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), act))

    def alive(self, module: str) -> list[Member]:
        """The members that run and are not frozen."""
        return [one for one in self.members if one.module == module and not (one.killed or one.frozen)]

    def retire(self, module: str) -> None:
        """End what runs of a module, and start it no more."""
        self._retired.add(module)
        for member in self.alive(module):
            member.process.terminate()
            member.process.wait(_STOP_SECONDS)

    def kill_broker(self, down_seconds: float) -> None:
        """Kill it with all that it holds, and start an empty one after a while."""
        began = time.monotonic()

        def start() -> None:
            self.broker = Valkey(self.folder)
            self.journal.write("outage", of="broker", since=began, till=time.monotonic())

        if self.broker:
            self.broker.stop()
        self.later(down_seconds, start)

    def _supervise(self) -> None:
        self.broker = Valkey(self.folder)
        for module, number in self.parts.items():
            self.members += [Member(module, self._start(module)) for _ in range(number)]
        self._up.set()
        while not self._over.is_set():
            for act in self._now_due():
                act()
            for number, member in enumerate(self.members):
                if member.module not in self._retired and member.process.poll() is not None:
                    self._bury(member)
                    self.members[number] = Member(member.module, self._start(member.module))
            self._over.wait(0.02)
        self._end()

    def _now_due(self) -> list[Callable[[], None]]:
        with self._lock:
            due = []
            while self._due and self._due[0][0] <= time.monotonic():
                due.append(heapq.heappop(self._due)[2])
            return due

    def _start(self, module: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, "REDIS_URL": self.redis_url, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - one system call, of a library loaded before
        )
        self.journal.write("started", module=module, pid=process.pid)
        return process

    def _bury(self, member: Member) -> None:
        code = member.process.returncode
        self.journal.write("exited", module=member.module, pid=member.pid, code=code, killed=member.killed)

    def _end(self) -> None:
        for _, _, act in sorted(self._due, key=lambda one: one[:2]):
            act()  # what is frozen goes on, what is away returns
        for member in self.members:
            member.process.send_signal(signal.SIGTERM)
        ends_at = time.monotonic() + _STOP_SECONDS
        for member in self.members:
            try:
                member.process.wait(max(0.1, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        if self.broker:
            self.broker.stop()


def lives(pid: int) -> bool:
    """Whether a process runs: one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: int, seconds: float) -> bool:
    """Whether a process ends within this time."""
    try:
        until(lambda: not lives(pid), seconds, every=0.005)
    except AssertionError:
        return False
    return True
