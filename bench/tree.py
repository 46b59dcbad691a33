"""Processes as the kernel counts them: CPU with reaped children, and memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def below(pid: int) -> Iterator[int]:
    """A process and every one below it that lives."""
    yield pid
    for thread in _threads(pid):
        try:
            found = (thread / "children").read_text().split()
        except OSError:  # it ended meanwhile
            continue
        for child in found:
            yield from below(int(child))


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:  # the same
        return []


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, of all below them, and of those that ended and were reaped."""
    return sum(_ticks(one) for pid in pids for one in below(pid)) / _TICK


def peak_megabytes(pid: int) -> float:
    """The most memory that a process had resident so far; 0 when it is gone."""
    return _megabytes(pid, "VmHWM")


def resident_megabytes(pid: int) -> float:
    """The memory that a process has resident now; 0 when it is gone."""
    return _megabytes(pid, "VmRSS")


def _megabytes(pid: int, name: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(one) for one in fields[11:15])  # utime, stime, cutime, cstime
