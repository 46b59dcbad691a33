"""What a pause of a user with 100,000 waiting tasks costs: `python -m bench.pausing`.

One claimer and, in a process of its own, the beat's settling. Printed is how long pause and resume take to answer, when
the first healthy task is claimed, how long claims take meanwhile and afterwards, and when the first task is claimed
after the resume. Times by this process's clock; nothing here is a test.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import sqlalchemy
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from jobs import claims, judge, pauses, task_types
from jobs.beat import Beat
from jobs.judge import Target
from jobs.models import Task
from tenants.database import connect, migrate, transaction
from tests import factories
from tests.factories import Cast
from tests.servers import start_postgresql

TASKS = int(os.environ.get("TASKS", "100000"))
OTHERS = int(os.environ.get("OTHERS", "20000"))
BATCH = int(os.environ.get("BATCH", "20"))
CLAIMS = 100


def main() -> None:
    """Measure both databases, or settle for ever as the beat does."""
    task_types.load(("tests.task_types",))
    if sys.argv[1:]:
        return _beat(sys.argv[1])
    print(f"{TASKS:,} tasks paused before {OTHERS:,} others, {BATCH} a claim, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="sluice-") as name:
        folder = Path(name)
        measure("SQLite", f"sqlite:///{folder}/pausing.db")
        server, url = start_postgresql(folder / "postgresql")
        maintenance = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with maintenance.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE pausing")
        measure("PostgreSQL", url.replace("/postgres?", "/pausing?"))
        maintenance.dispose()
        server.cleanup()
    return None


def measure(kind: str, url: str) -> None:
    """One run: claims of others alone, pause, claims meanwhile, claims when settled, resume."""
    engine = connect(url)
    migrate(engine)
    with transaction() as session:
        factories.fill(session)
    with Session(engine, expire_on_commit=False) as session:
        cast = factories.assemble(session)
        session.commit()
    _add(cast, cast.cleo.user.id, OTHERS, 0)
    alone = _claims(cast, CLAIMS)
    _add(cast, cast.ben.user.id, TASKS, 5)
    beat = subprocess.Popen([sys.executable, "-m", "bench.pausing", url])
    claimer = _Claimer(cast)
    time.sleep(2)
    paused_at = time.monotonic()
    with transaction() as session:
        one = pauses.pause(session, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "too many")
    pause_seconds = time.monotonic() - paused_at
    while _marked() < _paused_users(cast):
        time.sleep(0.2)
    settled_after = time.monotonic() - paused_at
    time.sleep(1)
    meanwhile = claimer.took_since(paused_at, paused_at + settled_after)
    healthy = claimer.first(paused_at + pause_seconds, cast.cleo.user.id)
    claimer.stop()
    settled = _claims(cast, CLAIMS)
    beat.terminate()
    beat.wait()
    claimer = _Claimer(cast)
    resumed_at = time.monotonic()
    with transaction() as session:
        pauses.resume(session, cast.ada, one.id)
    resume_seconds = time.monotonic() - resumed_at
    time.sleep(2)
    claimer.stop()
    first = claimer.first(resumed_at, cast.ben.user.id)
    after = claimer.took_since(resumed_at, resumed_at + 3)
    print(f"{kind}: pause answers {_ms(pause_seconds)}, resume {_ms(resume_seconds)}")
    print(f"  first healthy claim {_ms(healthy)} after the pause, all set aside after {settled_after:.1f} s")
    print(f"  first released claim {_ms(first)} after the resume")
    for name, took in (("alone", alone), ("meanwhile", meanwhile), ("once settled", settled), ("after resume", after)):
        print(f"  claims {name}: p50 {_p(took, 50)}, p95 {_p(took, 95)}, max {_ms(max(took))} of {len(took)}")
    engine.dispose()


class _Claimer:
    """Claims and completes, batch after batch, and remembers how long each claim took and whose tasks it got."""

    def __init__(self, cast: Cast) -> None:
        self._cast, self._over, self._seen = cast, threading.Event(), list[tuple[float, float, set[int | None]]]()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            got = _claim(self._cast)
            self._seen.append((began, time.monotonic(), got))
            self._over.wait(0.005)

    def took_since(self, since: float, until: float) -> list[float]:
        return [ended - began for began, ended, _ in self._seen if since <= began < until]

    def first(self, since: float, user_id: int) -> float:
        return next(ended - since for began, ended, users in self._seen if began >= since and user_id in users)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def _claims(cast: Cast, number: int) -> list[float]:
    took = []
    for _ in range(number):
        began = time.monotonic()
        _claim(cast)
        took.append(time.monotonic() - began)
    return took


def _claim(cast: Cast) -> set[int | None]:
    with transaction(claims=True) as session:
        judge.let_claims_pass(session, cast.acme.id)
        found = claims.claim(session, cast.acme.id, "default", limit=BATCH, worker="bench", lease_seconds=60)
    users = {cast.ben.user.email: cast.ben.user.id, cast.cleo.user.email: cast.cleo.user.id}
    return {users[one.user or ""] for one in found}


def _add(cast: Cast, user_id: int, number: int, priority: int) -> None:
    row = {"business_id": cast.acme.id, "user_id": user_id, "task_type": "test.note", "queue": "default"}
    with transaction() as session:
        session.execute(insert(Task), [{**row, "priority": priority} for _ in range(number)])


def _marked() -> int:
    with transaction(read_only=True) as session:
        return session.scalar(select(func.count()).where(Task.state == "paused")) or 0


def _paused_users(cast: Cast) -> int:
    of_ben = (Task.user_id == cast.ben.user.id, Task.state.in_(["paused", "pending"]))
    with transaction(read_only=True) as session:
        return session.scalar(select(func.count()).where(*of_ben)) or 0


def _beat(url: str) -> None:
    connect(url)
    beat = Beat()
    while True:
        began = time.monotonic()
        beat.settle()
        time.sleep(max(0.0, 1 - (time.monotonic() - began)))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _p(took: list[float], percent: int) -> str:
    return _ms(statistics.quantiles(took, n=100)[percent - 1])


if __name__ == "__main__":
    main()
