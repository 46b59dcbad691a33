"""Every fail-point: `python -m tests.chaos.breaking sqlite` breaks each step once in each way, under load.

The load is an outsider that submits and pauses, and a schedule that is due every second. The oracle judges as it does
a chaos run; besides, each point must have been reached. A frozen process goes on when its lease has long run out.
All processes talk to the servers by lines that lose replies all the while.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import structlog
from sqlalchemy import make_url

from jobs import queue
from tenants.database import connect, migrate
from tests import failpoints
from tests.chaos import databases, evidence, firing, oracle, table
from tests.chaos.conductor import MODULE, wait_for_the_last
from tests.chaos.databases import Database
from tests.chaos.journal import Journal, Witness
from tests.chaos.people import People, admins, move_in
from tests.chaos.profiles import PUSH
from tests.chaos.stack import SCHEDULER, WORKER, Stack, lives
from tests.failpoints import Fired
from tests.servers import Line

OUTSIDER = "tests.chaos.outsider"
PROFILE = dataclasses.replace(
    PUSH, name="fail-points", lease_seconds=1.5, heartbeat_seconds=0.4, beat_seconds=0.3, workers=3, schedulers=2
)
_REACH_SECONDS = 120.0
REPLIES = {  # what is lost, again and again, after the server has done what it was asked for
    "redis": (b"", b"turn-"),  # anything; a turn that was taken from its queue
    "postgresql": (b"", b"COMMIT\0", b"INSERT 0 1\0"),  # anything; a transaction; a task submitted by one statement
}
_LOSE_SECONDS = 0.4
_LEAST_LOST = 5  # of each
_FROZEN_SECONDS = PROFILE.lease_seconds + 0.7
_KILL_SECONDS = 0.7


def main() -> int:
    """Break every point; 1 when one was not reached, or an invariant was broken."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all servers that were started
    (kind,) = sys.argv[1:]
    actions = ["kill", "freeze", "raise"] + (["cut"] if kind == "postgresql" else [])
    with tempfile.TemporaryDirectory(prefix="sluice-") as name:
        folder = Path(name)
        structlog.configure(logger_factory=structlog.WriteLoggerFactory((folder / "driver.log").open("w")))
        database = databases.make(kind, folder)
        try:
            breaking = Breaking(actions, database, folder)
            missed = breaking.go()
            report = oracle.judge(evidence.collect(PROFILE, folder))
        finally:
            database.stop()
    lost = {server: dict(collections.Counter(line.lost)) for server, line in breaking.lines.items()}
    sys.stdout.write(f"{table.judgement(kind, report)}\n  replies lost: {lost}\n  never reached: {missed}\n")
    return int(bool(missed or report.violations))


class Breaking:
    """A stack whose processes break at every point of these actions."""

    def __init__(self, actions: list[str], database: Database, folder: Path) -> None:
        self.wanted = [point for action in actions for point in failpoints.points(action)]
        random.shuffle(self.wanted)
        self.latches = folder / "latches"
        self.latches.mkdir()
        self.journal, self.witness = Journal(folder / "journal"), Witness(folder / "witness")
        self.database = database
        environment = {
            **PROFILE.settings(),
            "DATABASE_URL": database.url,
            "DATA_DIR": str(folder),
            "TASK_MODULES": f"{MODULE},tests.failpoints",
            "WITNESS": str(folder / "witness"),
            "JOURNAL": str(folder / "journal"),
            "LATCHES": str(self.latches),
            "FAIL": ",".join(self.wanted),
        }
        parts = {WORKER: PROFILE.workers, SCHEDULER: PROFILE.schedulers, OUTSIDER: 1}
        self.stack = Stack(folder, environment, self.journal, parts)
        self.lines = self._lines(folder / "far", environment)
        self._lose_at = time.monotonic()
        self._seen: set[str] = set()
        self._killed_at = time.monotonic()

    def _lines(self, far: Path, environment: dict[str, str]) -> dict[str, Line]:
        """The lines by which the processes of this environment are to reach Redis and PostgreSQL."""
        far.mkdir()
        lines = {"redis": Line(self.stack.folder / "r.sock", far / "r.sock")}
        environment["REDIS_URL"] = f"unix://{far}/r.sock?db=0"
        url = make_url(self.database.url)
        if url.get_backend_name() == "postgresql":
            door = ".s.PGSQL.5432"
            lines["postgresql"] = Line(Path(str(url.query["host"])) / door, far / door)
            url = url.update_query_dict({"host": str(far)})
        environment["DATABASE_URL"] = url.render_as_string(hide_password=False)
        return lines

    def go(self) -> list[str]:
        """Run until every point has failed and all tasks are final; the points that were not reached."""
        migrate(connect(self.database.url))
        move_in()
        since = firing.begin()
        self.stack.start()
        try:
            ends_at = time.monotonic() + _REACH_SECONDS
            while self._missed() and time.monotonic() < ends_at:
                self._look()
                self._provoke()
                self._lose()
                time.sleep(0.02)
            firing.end(self.journal, since)
            self._end()
        finally:
            self.stack.stop()
            for line in self.lines.values():
                line.close()
            self.journal.close()
        return self._missed()

    def _missed(self) -> list[str]:
        """The points that have not failed, and the replies of which hardly any was lost."""
        replies = [
            f"reply {reply!r} of {server}"
            for server, line in self.lines.items()
            for reply in REPLIES[server]
            if line.lost.count(reply) < _LEAST_LOST
        ]
        return sorted(set(self.wanted) - self._seen) + replies

    def _lose(self) -> None:
        if time.monotonic() > self._lose_at:
            self._lose_at = time.monotonic() + _LOSE_SECONDS
            for server, line in self.lines.items():
                line.lose(random.choice(REPLIES[server]))

    def _look(self) -> None:
        """Write down what has failed, and have the frozen go on in time."""
        for one in failpoints.fired(self.latches):
            if one.point not in self._seen:
                self._seen.add(one.point)
                self._note(one)

    def _note(self, one: Fired) -> None:
        facts = {"point": one.point, "action": one.action, "since": one.at}
        self.journal.write("fault", kind="failpoint", worker=None, pids=[one.pid], victims=[], **facts)
        if one.action != "freeze":
            return

        def thaw() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGCONT)
            self.journal.write("thawed", pids=[one.pid], since=one.at)

        self.stack.later(_FROZEN_SECONDS, thaw)

    def _provoke(self) -> None:
        """Kill a horse for its parent to bury, or both for the beat to reap, as long as that was not broken yet."""
        missing = {point.partition(":")[0] for point in set(self.wanted) - self._seen}
        if not missing & {"bury", "reap"} or time.monotonic() < self._killed_at + _KILL_SECONDS:
            return
        for member in self.stack.alive(WORKER):
            horses = [line.pid for pid in member.horses() for line in self.witness.at_work(pid) if lives(pid)]
            if horses:
                pids = horses if "bury" in missing and random.random() < 0.6 else [member.pid, *horses]
                self.journal.write("fault", kind="failpoint", point="-", worker=member.pid, pids=pids, victims=[])
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                self._killed_at = time.monotonic()
                return

    def _end(self) -> None:
        """No more load, no pause, nobody frozen: everything becomes final."""
        queue.connect(self.stack.redis_url)
        self.stack.retire(OUTSIDER)
        self.database.settle()
        people = People(self.journal, admins(), random.Random())
        people.resume_all()
        self.journal.write("drained", unfinished=wait_for_the_last(PROFILE.drain_seconds))
        people.count()
        queue.flush()


if __name__ == "__main__":
    sys.exit(main())
