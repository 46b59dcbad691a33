"""Chaos: `python -m tests.chaos` kills, freezes and flushes for real, and prints what the oracle says.

PROFILE=push or long, TASKS, SEED (a printed number repeats a run), DATABASES=sqlite,postgresql, and KEEP=folder, where
journal and witness stay.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import structlog

from tests.chaos import databases, evidence, oracle, table
from tests.chaos.conductor import Run
from tests.chaos.profiles import Profile, from_env


def main() -> int:
    """Run the profile on each database; 1 when an invariant was broken."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all servers that were started
    profile, seed = from_env()
    command = f"make chaos PROFILE={profile.name} TASKS={profile.tasks} SEED={seed}"
    print(f"{command}\n", flush=True)
    rows, broken = [], False
    for kind in os.environ.get("DATABASES", "sqlite,postgresql").split(","):
        with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
            line, violations = run(profile, seed, kind, Path(folder))
        rows.append(line)
        broken = broken or violations
    print("\n".join(["", table.head(), *rows, "", f"`{command}`; {table.machine()}"]))
    return int(broken)


def run(profile: Profile, seed: int, kind: str, folder: Path) -> tuple[str, bool]:
    """One run: its row of the table, and whether an invariant was broken or too little was done to break one."""
    database = databases.make(kind, folder)
    try:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory((folder / "driver.log").open("w")))
        one = Run(profile, seed, database, folder)
        one.go()
        found = evidence.collect(profile, folder)
        report, left_out = oracle.judge(found), found.left_out()
        print(table.judgement(database.kind, report), flush=True)
        if left_out:
            print(f"too little was broken: {left_out}", flush=True)
    finally:
        database.stop()
        _keep(kind, folder)
    line = table.row(report, profile=profile.name, database=database.kind, seed=seed, seconds=one.seconds)
    return line, bool(report.violations or left_out)


def _keep(kind: str, folder: Path) -> None:
    """Leave the evidence where KEEP says."""
    if kept := os.environ.get("KEEP"):
        target = Path(kept) / kind
        target.mkdir(parents=True, exist_ok=True)
        for name in ("journal", "witness", "processes.log", "driver.log"):
            shutil.copy(folder / name, target / name)


if __name__ == "__main__":
    sys.exit(main())
