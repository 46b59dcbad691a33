"""The place where one contender is measured once: an empty broker, a fresh database, an empty file in memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import tree
from bench.roster import Contender
from bench.servers import Broker, PostgreSQL
from bench.settings import ROOT, Settings
from bench.starts import Starts, Void
from processes import dying_with_me

_PATIENCE_SECONDS = 300.0  # without anything new
_GOODBYE_SECONDS = 15.0


class Arena:
    """Runs the acts and workers of one contender. What it starts ends with it."""

    def __init__(self, contender: Contender, settings: Settings, broker: Broker, postgresql: PostgreSQL) -> None:
        self.contender, self.settings, self.broker, self.postgresql = contender, settings, broker, postgresql
        memory = Path("/dev/shm")  # noqa: S108 - the point is that it is memory
        self._home = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        self.folder = Path(self._home.name)
        self._memory = tempfile.TemporaryDirectory(prefix="sluice-bench-", dir=memory if memory.is_dir() else None)
        self.starts = Starts(Path(self._memory.name) / "starts")
        self._log = self.folder / "log"
        self._started: list[subprocess.Popen[bytes]] = []
        self.url = self._database()
        broker.empty()
        self.environment = self._environment()

    def ask(self, verb: str, *numbers: float, module: str | None = None) -> Any:
        """One act in the contender's environment; Void when it fails."""
        module = module or self.contender.module
        command = [str(self.contender.python), "-m", "bench.ask", module, verb, *map(str, numbers)]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Void(f"{verb}: {done.stderr.strip()[-2000:] or done.returncode}")
        return json.loads(done.stdout.splitlines()[-1])

    def start_workers(self, **environment: str) -> list[int]:
        """Start the contender's workers, and Sluice's scheduler beside them; answer the workers' ids."""
        commands = self.contender.commands(self.settings.workers, redis=self.broker.url)
        pids = [self.start(one, **environment) for one in commands]
        if self.contender.module == "sluice":
            self.start_scheduler(**environment)
        return pids

    def start_scheduler(self, **environment: str) -> int:
        """Start Sluice's scheduler; answer its id."""
        return self.start([str(self.contender.python), "-m", "jobs.scheduler"], **environment)

    def start(self, command: list[str], **environment: str) -> int:
        """Start one process of the contender, which ends with this arena; answer its id."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, **environment},
                preexec_fn=dying_with_me(),  # noqa: PLW1509 - one system call, of a library loaded before
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._started.append(process)
        return process.pid

    def cpu_seconds(self) -> float:
        """What all its processes have used."""
        return tree.cpu_seconds(one.pid for one in self._started)

    def wait_for(
        self,
        count: int,
        seen: Callable[[int], None] | None = None,
        every: float = 0.005,
        so_far: Callable[[], int] | None = None,
    ) -> None:
        """Until so many tasks have begun, or so much of something else is done; `seen` is told how many, many times."""
        before, changed = -1, time.monotonic()
        while (now := (so_far or self.starts.count)()) < count:
            if seen:
                seen(now)
            if now != before:
                before, changed = now, time.monotonic()
            if time.monotonic() - changed > _PATIENCE_SECONDS:
                raise Void(f"only {now} of {count} began\n{self.said()}")
            time.sleep(every)
        if seen:
            seen(now)

    def wait_for_these(self, numbers: range) -> None:
        """Until each of these tasks has begun."""
        self.wait_until(lambda: len(self.starts.of(numbers)) == len(numbers))

    def wait_until(self, fact: Callable[[], bool]) -> None:
        """Until something is so; Void when it is not in time, or when a process has ended."""
        ends_at = time.monotonic() + _PATIENCE_SECONDS
        while not fact():
            if time.monotonic() > ends_at or any(one.poll() is not None for one in self._started):
                raise Void(f"not in time, or a process has ended\n{self.said()}")
            time.sleep(0.05)

    def check(self, count: int) -> None:
        """Void unless the contender's own record says, in a while, that all these tasks are done."""
        ends_at = time.monotonic() + 20
        while wrong := self.ask("unfinished", count):
            if time.monotonic() > ends_at:
                raise Void(wrong)

    def said(self) -> str:
        """The last words of its processes."""
        return self._all_said()[-3000:]

    def warnings(self) -> list[str]:
        """What Sluice's processes warned of."""
        return [line for line in self._all_said().splitlines() if "[warning" in line or "[error" in line]

    def stop(self) -> None:
        """End what was started, kindly at first."""
        for one in self._started:
            one.terminate()
        ends_at = time.monotonic() + _GOODBYE_SECONDS
        for one in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(max(0.1, ends_at - time.monotonic()))
            self._kill(one)
        self._started = []

    def close(self) -> None:
        """End everything and leave nothing."""
        self.stop()
        if self.contender.database == "postgresql":
            self.postgresql.drop(self.url)
            self.postgresql.settle()
        self._home.cleanup()
        self._memory.cleanup()

    def _all_said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            for pid in list(tree.below(process.pid))[::-1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def _database(self) -> str:
        if self.contender.database == "postgresql":
            return self.postgresql.fresh()
        return f"sqlite:///{self.folder}/sluice.db"

    def _environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "REDIS_URL": self.broker.url,
            "DATABASE_URL": self.url,
            "BENCH_LIBPQ": self.url.replace("+psycopg", ""),
            "BENCH_FOLDER": str(self.folder),
            "BENCH_WITNESS": str(self.starts.path),
            "TASK_MODULES": "bench.task_types",
        }


@contextlib.contextmanager
def arena(contender: Contender, settings: Settings, broker: Broker, postgresql: PostgreSQL) -> Iterator[Arena]:
    """An arena that is left clean."""
    made = Arena(contender, settings, broker, postgresql)
    try:
        made.ask("prepare")
        yield made
    finally:
        made.close()
