"""The result of a run as a row of the table on the reliability page."""

from __future__ import annotations

import collections
import os
import platform
from pathlib import Path

from tests.chaos.figures import quantile, spread
from tests.chaos.oracle import Report

HEAD = (
    "profile",
    "database",
    "tasks",
    "faults",
    "lost",
    "finished twice",
    "begun twice without lost attempt",
    "late begins",
    "lost to begun again, p50 / p99 / max s",
    "dead worker noticed, p50 / p99 / max s",
    "dead horse noticed, p99 s",
    "other violations",
    "seed",
    "seconds",
)
_SHOWN = 5  # violations of a rule
_OWN_COLUMN = (
    ("lost", "unfinished"),
    ("finished twice",),
    ("begun twice without lost attempt", "attempt begun twice"),
    ("begun under a pause",),
)


def head() -> str:
    """The two lines above the rows."""
    return f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}"


def row(report: Report, *, profile: str, database: str, seed: int, seconds: float) -> str:
    """One run."""
    found = report.figures
    own = [sum(map(report.count, rules)) for rules in _OWN_COLUMN]
    faults = {**found.faults, "pauses": found.pauses, "interrupts": sum(found.interrupts.values())}
    p99 = quantile(found.horse_notice, 0.99)
    cells = [
        profile,
        database,
        f"{found.tasks:,}",
        ", ".join(f"{number} {kind}" for kind, number in sorted(faults.items())),
        *map(str, own),
        spread(found.again),
        spread(found.worker_notice),
        "-" if p99 is None else f"{p99:.2f}",
        str(len(report.violations) - sum(own)),
        str(seed),
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def judgement(title: str, report: Report) -> str:
    """What a run did, and the first breaches of each rule with their evidence."""
    found, shown = report.figures, collections.Counter[str]()
    lines = [f"{title}: {found.states}, faults {found.faults}, interrupts {found.interrupts}, skipped {found.skipped}"]
    for one in report.violations:
        shown[one.rule] += 1
        if shown[one.rule] <= _SHOWN:
            lines.append(f"  VIOLATION {one}")
    return "\n".join([*lines, *(f"  {number} times: {rule}" for rule, number in shown.items())])


def machine() -> str:
    """Where it ran, in one line."""
    processor = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} at the end"
