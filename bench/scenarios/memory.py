"""Memory over many tasks: of the workers and their horses, whether it grows, and of the broker."""

from __future__ import annotations

from collections.abc import Iterable

from bench import tree
from bench.arena import Arena
from bench.roster import HUEY, SLUICE

CONTENDERS = (*SLUICE, HUEY)
MAX_ROUNDS = 3
_FEW = 1_000
_EARLY, _LATE = (0.1, 0.4), (0.7, 1.0)  # shares of the tasks


def measure(arena: Arena) -> dict[str, float]:
    """Peaks in MB, the last part's peak as a multiple of the first's, and the broker's kB."""
    count = arena.settings.scaled(200_000, 10_000)
    arena.ask("fill", _FEW)
    few = arena.broker.kilobytes()
    arena.ask("fill", count - _FEW, _FEW)
    many = arena.broker.kilobytes()
    watch = _Watch(arena.start_workers())
    arena.wait_for(count, watch.see, every=0.02)
    arena.starts.all_of(range(count))
    arena.check(count)
    return {"tasks": count, "broker_kb": many, "broker_growth": many / few, **watch.figures(arena, count)}


class _Watch:
    """Samples the peak of each process, with how many tasks had begun."""

    def __init__(self, workers: list[int]) -> None:
        self._workers = workers
        self._seen: list[tuple[int, float, float]] = []

    def see(self, begun: int) -> None:
        """Take one sample: the greatest worker and the greatest process below one."""
        below = [pid for worker in self._workers for pid in tree.below(worker) if pid != worker]
        self._seen.append((begun, _greatest(self._workers), _greatest(below)))

    def figures(self, arena: Arena, count: int) -> dict[str, float]:
        """Worker and horse apart; a peer's are all alike."""
        worker, horse = (max(one[place] for one in self._seen) for place in (1, 2))
        if arena.contender.module != "sluice":
            worker = horse = max(worker, horse)
        growth = {f"{name}_growth": self._growth(place, count) for place, name in ((1, "worker"), (2, "horse"))}
        return {"worker_mb": worker, "horse_mb": horse, **growth}

    def _growth(self, place: int, count: int) -> float:
        early, late = (
            max((one[place] for one in self._seen if low * count <= one[0] <= high * count), default=0.0)
            for low, high in (_EARLY, _LATE)
        )
        return late / early if early else 0.0


def _greatest(pids: Iterable[int]) -> float:
    return max((tree.peak_megabytes(pid) for pid in pids), default=0.0)
