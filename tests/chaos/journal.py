"""The two files that the oracle reads: the driver's journal, and what the handlers witnessed."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Journal:
    """What the driver did: every call with its answer, every fault, in one write each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.write("clock")

    def write(self, what: str, **facts: Any) -> None:
        """Append an entry with this moment, by the monotonic clock and by the wall's."""
        entry = {"at": time.monotonic(), "wall": time.time(), "what": what, **facts}
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        """No more entries."""
        os.close(self._file)

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Every entry, first to last."""
        return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass(frozen=True)
class Line:
    """What a handler said: `begin`, `end` or `child`, of which attempt, in which process."""

    at: float
    word: str
    business: str
    task: int
    attempt: int
    pid: int
    life: str
    detail: str = "-"

    @classmethod
    def parse(cls, line: str) -> Line:
        """A line of the witness file."""
        at, word, business, task, attempt, pid, life, detail = line.split(" ", 7)
        return cls(float(at), word, business, int(task), int(attempt), int(pid), life, detail)

    @property
    def start(self) -> tuple[int, int]:
        """Which start of which task."""
        return self.task, self.attempt


class Witness:
    """The witness file, read again and again while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._offset = 0
        self._lock = threading.Lock()
        self.lines: list[Line] = []
        self._open: dict[tuple[int, int], Line] = {}
        self.begun: set[int] = set()
        self.done: set[int] = set()

    def read(self) -> list[Line]:
        """Read on; the lines that are new."""
        with self._lock:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                whole, _, _ = file.read().rpartition(b"\n")
            if not whole:
                return []
            self._offset += len(whole) + 1
            new = [Line.parse(line) for line in whole.decode().split("\n")]
            for line in new:
                self._take(line)
            return new

    def at_work(self, pid: int | None = None) -> list[Line]:
        """What has begun and not ended, of one process or of all."""
        self.read()
        with self._lock:
            return [line for line in self._open.values() if pid in (None, line.pid)]

    def _take(self, line: Line) -> None:
        self.lines.append(line)
        if line.word == "begin":
            self.begun.add(line.task)
            self._open[line.start] = line
        elif line.word == "end":
            self._open.pop(line.start, None)
            if line.detail == "done":
                self.done.add(line.task)
