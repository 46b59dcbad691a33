"""The machine: what it is, how loaded it was, and whether it kept its speed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

from bench.roster import PEER_LIST
from bench.settings import PEERS, ROOT

MAX_LOAD = 0.5
MAX_DRIFT = 0.3


def line(load: float, postgresql: str, broker: str) -> str:
    """One line that says where the figures come from."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    ours = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("rq", "redis", "SQLAlchemy", "psycopg"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {broker}, PostgreSQL {postgresql}, SQLite {_sqlite()}, {ours}; "
        f"peers: {_peers()}; commit {commit()}; load at start {load:.2f}"
    )


def commit() -> str:
    """The commit that is measured, and whether files differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("-changed" if _git("status", "--porcelain", "--untracked-files=no") else "")


def reference_loop() -> float:
    """The seconds that a fixed piece of Python takes: it tells when the machine changes its speed."""
    began = time.perf_counter()
    total = 0
    for number in range(1_500_000):
        total += number & 7
    assert total
    return time.perf_counter() - began


class Steadiness:
    """The reference loop's times, by round."""

    def __init__(self) -> None:
        self.load = os.getloadavg()[0]
        self._rounds: list[list[float]] = []

    def new_round(self) -> None:
        """Begin a round."""
        self._rounds.append([])

    def look(self) -> None:
        """Take one time, in the round at hand."""
        self._rounds[-1].append(reference_loop())

    @property
    def drift(self) -> float:
        """How much longer the loop took in the slowest round than in the fastest."""
        middles = [statistics.median(one) for one in self._rounds if one]
        return max(middles) / min(middles) - 1 if middles else 0.0

    def doubts(self) -> list[str]:
        """Why the figures are not judged; empty when they can be."""
        found = []
        if self.load > MAX_LOAD:
            found.append(f"load at start was {self.load:.2f}, more than {MAX_LOAD}")
        if self.drift > MAX_DRIFT:
            found.append(f"the reference loop drifted by {self.drift:.0%}, more than {MAX_DRIFT:.0%}")
        return found


def _peers() -> str:
    """The versions in the peers' environment, or that it is missing."""
    python = PEERS / "python"
    if not python.exists():
        return "missing (make bench-peers)"
    names = [one.distribution for one in PEER_LIST if not one.is_missing] + ["redis", "hiredis"]
    script = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return subprocess.check_output([python, "-c", script, *names], text=True).strip()


def _processor() -> str:
    for one in Path("/proc/cpuinfo").read_text().splitlines():
        if one.startswith("model name"):
            return one.partition(":")[2].strip()
    return platform.processor()


def _sqlite() -> str:
    import sqlite3

    return sqlite3.sqlite_version


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True).strip()
