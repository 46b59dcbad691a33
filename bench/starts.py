"""Reading what `bench.witness` wrote: which task began when."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

from bench import witness


class Void(Exception):
    """This measurement does not count; the message says why."""


class Starts:
    """The file in memory of one measurement. Times are microseconds of `witness.now`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")
        self._since = witness.now()

    def count(self) -> int:
        """How many tasks have begun."""
        return self.path.stat().st_size // 8

    def read(self) -> list[tuple[int, int]]:
        """Number and start of each task that began, in the order of their starts."""
        found = [self._unpack(word) for (word,) in struct.iter_unpack("<Q", self.path.read_bytes())]
        return sorted(found, key=lambda one: one[1])

    def of(self, numbers: range) -> list[int]:
        """The starts of these tasks, in order. Void when one began twice."""
        found = [(number, at) for number, at in self.read() if number in numbers]
        twice = sum(times > 1 for times in Counter(number for number, _ in found).values())
        if twice:
            raise Void(f"{twice} tasks began twice")
        return [at for _, at in found]

    def all_of(self, numbers: range) -> list[int]:
        """The same; Void when one of them never began."""
        found = self.of(numbers)
        if len(found) != len(numbers):
            raise Void(f"{len(numbers) - len(found)} of {len(numbers)} tasks never began")
        return found

    def _unpack(self, word: int) -> tuple[int, int]:
        bits = (1 << witness.TIME_BITS) - 1
        return word >> witness.TIME_BITS, self._since + ((word & bits) - self._since & bits)
