"""Who takes part: how each contender's workers are started, and how much of the work it gets.

Peers run with their documented defaults; `differs` says what does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.settings import PEERS, PRODUCT


@dataclass(frozen=True)
class Contender:
    """One engine, on one kind of database. `share` of TASKS is what it drains, since some would take all day."""

    name: str
    module: str
    python: Path
    workers: tuple[str, ...]  # one command of all processes, or the same command for each
    together: bool = False
    database: str | None = None
    share: float = 1.0
    differs: str = ""
    distribution: str = ""

    def commands(self, processes: int, **places: str | int | Path) -> list[list[str]]:
        """The command lines that start its workers, or a dashboard's web server; `places` are what they name."""
        filled = [part.format(processes=processes, **places) for part in self.workers]
        line = [str(PEERS / filled[0]) if self.distribution else filled[0], *filled[1:]]
        return [line] * (1 if self.together else processes)

    @property
    def deviations(self) -> str:
        """What is not as its documentation has it, or not as it is for the others."""
        fewer = f"{self.share:g} of the tasks to drain" if self.share < 1 else ""
        return ", ".join(filter(None, (self.differs, fewer)))

    @property
    def is_missing(self) -> bool:
        """Whether its environment is not there, or made before it took part: `make bench-peers` makes it."""
        installed = f"python*/site-packages/{self.distribution.replace('-', '_')}-*.dist-info"
        return bool(self.distribution) and not any((PEERS.parent / "lib").glob(installed))


def _sluice(name: str, database: str) -> Contender:
    command = (str(PRODUCT), "-m", "jobs.worker", "bench")
    return Contender(name, "sluice", PRODUCT, command, database=database)


def _peer(
    name: str, workers: str, *, together: bool = True, share: float = 1.0, differs: str = "", **also: str
) -> Contender:
    return Contender(
        name,
        also.get("module", name),
        PEERS / "python",
        tuple(workers.split()),
        together,
        also.get("database"),
        share,
        differs,
        also.get("distribution", name),
    )


SQLITE, POSTGRESQL = _sluice("Sluice on SQLite", "sqlite"), _sluice("Sluice on PostgreSQL", "postgresql")
SLUICE = (SQLITE, POSTGRESQL)
HUEY = _peer(
    "huey",
    "huey_consumer bench.contenders.huey.huey --quiet -k process -w {processes}",
    differs="processes instead of one thread",
)
RQ = _peer(
    "rq worker", "rq worker --quiet --url {redis} bench", together=False, share=0.025, module="rq", distribution="rq"
)
DRAMATIQ = _peer("dramatiq", "dramatiq bench.contenders.dramatiq --processes {processes}", share=0.5)
CELERY = _peer(
    "celery",
    "celery --quiet -A bench.contenders.celery worker --loglevel WARNING --concurrency {processes}",
    share=0.25,
)
TASKIQ = _peer(
    "taskiq",
    "taskiq worker bench.contenders.taskiq:broker --log-level WARNING --workers {processes}",
    share=0.5,
)
PROCRASTINATE = _peer(
    "procrastinate",
    "procrastinate --app bench.contenders.procrastinate.app --log-level warning worker",
    together=False,
    share=0.1,
    database="postgresql",
)
FLOWER = _peer(
    "Flower",
    "celery --quiet -A bench.contenders.celery flower --address=127.0.0.1 --port={port} --persistent=True "
    "--db={folder}/flower",
    module="flower",
    distribution="flower",
    differs="half of its tasks wait and half are done, since it keeps 100,000; they come from its state file, not from "
    "events of workers; 50 rows a page instead of 15",
)
RQ_DASHBOARD = _peer(
    "rq-dashboard",
    "rq-dashboard --bind 127.0.0.1 --port {port} --redis-url {redis}",
    module="rq_dashboard",
    distribution="rq-dashboard",
    differs="what is done never ran and is kept for ever instead of 500 s; it stands in a list of its own, so the "
    "list of what waits is asked for; 50 rows a page instead of 8",
)
ENGINES = (HUEY, DRAMATIQ, TASKIQ, CELERY, RQ, PROCRASTINATE)
DASHBOARDS = (FLOWER, RQ_DASHBOARD)
PEER_LIST = ENGINES + DASHBOARDS
EVERYBODY = SLUICE + PEER_LIST
