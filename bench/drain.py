"""How many tasks a second go through the engine: `make bench`.

Real workers, a real Valkey, one database after the other. All tasks wait before the workers start; counted is the time
between the 10 % and the 90 % mark, by the database's own clock: `attempts.ended_at`. A run counts only if every task
is completed with exactly one attempt.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy
from sqlalchemy import func, insert, select

from jobs import queue, task_types
from jobs.models import Attempt, Task
from tenants import businesses
from tenants.database import connect, migrate, transaction
from tests.servers import Valkey, start_postgresql

ROOT = Path(__file__).parents[1]
TASKS = int(os.environ.get("TASKS", "40000"))
WORKERS = int(os.environ.get("WORKERS", "2"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
BUSINESSES = 4


def main() -> None:
    """Measure both databases in turn, ROUNDS times each after one that does not count."""
    print(f"{TASKS:,} tasks of {BUSINESSES} businesses, {WORKERS} workers, {ROUNDS} rounds after one discarded")
    print(
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f}\n"
    )
    task_types.load(("bench.task_types",))
    figures: dict[str, list[tuple[float, float]]] = {"SQLite": [], "PostgreSQL": []}
    with tempfile.TemporaryDirectory(prefix="sluice-") as name:
        folder = Path(name)
        server, url = start_postgresql(folder / "postgresql")
        maintenance = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        for round_ in range(ROUNDS + 1):
            with maintenance.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE round_{round_}")
            postgresql = url.replace("/postgres?", f"/round_{round_}?")
            for kind, address in (("SQLite", f"sqlite:///{folder}/{round_}.db"), ("PostgreSQL", postgresql)):
                figure = measure(address, folder)
                if round_:
                    figures[kind].append(figure)
        maintenance.dispose()
        server.cleanup()
    print("| database | bulk submit/s, median (min-max) | drain/s, median (min-max) |\n|---|---|---|")
    for kind, pairs in figures.items():
        submitted, drained = zip(*pairs, strict=True)
        print(f"| {kind} | {_spread(submitted)} | {_spread(drained)} |")


def measure(url: str, folder: Path) -> tuple[float, float]:
    """Tasks submitted a second, in bulk, and tasks done a second."""
    engine = connect(url)
    migrate(engine)
    with tempfile.TemporaryDirectory(prefix="sluice-", dir=folder) as name:
        valkey = Valkey(Path(name))
        queue.connect(valkey.url)
        submitted = _submit()
        environment = {**os.environ, "DATABASE_URL": url, "REDIS_URL": valkey.url, "TASK_MODULES": "bench.task_types"}
        command = [sys.executable, "-m", "jobs.worker", "bench"]
        workers = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(WORKERS)]
        _wait_until_done()
        for worker in workers:
            worker.terminate()
            worker.wait()
        valkey.stop()
    drained = _drained()
    engine.dispose()
    return submitted, drained


def _submit() -> float:
    with transaction() as session:
        ids = [businesses.create(session, f"b{number}", f"Business {number}").id for number in range(BUSINESSES)]
    row = {"task_type": "bench.nothing", "queue": "bench", "payload": {}}
    began = time.perf_counter()
    with transaction() as session:
        session.execute(insert(Task), [{**row, "business_id": ids[number % BUSINESSES]} for number in range(TASKS)])
    took = time.perf_counter() - began
    for business_id in ids:
        queue.wake_now(business_id, "bench")
    return TASKS / took


def _wait_until_done() -> None:
    unfinished = select(Task.id).where(Task.state != "completed").limit(1)
    while True:
        time.sleep(0.25)
        with transaction(read_only=True) as session:
            if session.scalar(unfinished) is None:
                return


def _drained() -> float:
    with transaction(read_only=True) as session:
        ends = session.scalars(select(Attempt.ended_at).order_by(Attempt.ended_at)).all()
        once = session.scalar(select(func.count(Attempt.task_id.distinct())))
    if not len(ends) == once == TASKS:
        raise SystemExit(f"void: {len(ends)} attempts of {once} tasks, not {TASKS} of each")
    first, last = ends[TASKS // 10], ends[TASKS * 9 // 10]
    return TASKS * 0.8 / (last - first).total_seconds()


def _spread(figures: tuple[float, ...]) -> str:
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f}-{max(figures):,.0f})"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
