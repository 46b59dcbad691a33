"""How fast tasks that wait are worked off: from the 10 % mark to the 90 % mark, by the starts of the tasks."""

from __future__ import annotations

from bench import tree
from bench.arena import Arena
from bench.roster import ENGINES, SLUICE
from bench.starts import Void

CONTENDERS = SLUICE + ENGINES
MAX_ROUNDS = None


def measure(arena: Arena) -> dict[str, float]:
    """Tasks a second, and CPU a task: of its processes, of the broker, of PostgreSQL."""
    count = max(200, int(arena.settings.tasks * arena.contender.share))
    arena.ask("fill", count)
    meter = Meter(arena, count)
    arena.start_workers()
    arena.wait_for(count, meter.see)
    arena.check(count)
    arena.stop()
    starts = arena.starts.all_of(range(count))
    first, last = starts[count // 10], starts[count * 9 // 10]
    return {"tasks": count, "rate": (count * 9 // 10 - count // 10) / (last - first) * 1e6, **meter.costs()}


class Meter:
    """Reads CPU times when 10 % and when 90 % of the tasks have begun, so that starting and stopping cost nothing."""

    def __init__(self, arena: Arena, count: int) -> None:
        self._arena, self._marks = arena, [count // 10, count * 9 // 10]
        self._read: list[tuple[int, dict[str, float]]] = []

    def see(self, begun: int) -> None:
        """So many have begun by now."""
        if len(self._read) < 2 and begun >= self._marks[len(self._read)]:
            self._read.append((begun, self._costs_so_far()))

    def costs(self) -> dict[str, float]:
        """Microseconds a task. Void when the tasks were so few that one look passed both marks."""
        if len(self._read) < len(self._marks):
            raise Void("too few tasks to tell what one costs")
        (begun, before), (ended, after) = self._read
        return {name: (after[name] - before[name]) / max(1, ended - begun) * 1e6 for name in before}

    def _costs_so_far(self) -> dict[str, float]:
        told = {"cpu_us": self._arena.cpu_seconds(), "broker_us": self._arena.broker.cpu_seconds()}
        if self._arena.contender.database == "postgresql":
            told["postgresql_us"] = tree.cpu_seconds([self._arena.postgresql.pid])
        return told
