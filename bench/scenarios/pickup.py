"""How long an idle worker takes to begin a task: from the return of the submit to the handler's first line."""

from __future__ import annotations

import statistics

from bench.arena import Arena
from bench.roster import ENGINES, SLUICE

CONTENDERS = SLUICE + ENGINES
MAX_ROUNDS = None
_A_SECOND = 20.0


def measure(arena: Arena) -> dict[str, float]:
    """Milliseconds: the median and the 95th percentile, and the median from the call of the submit."""
    count = arena.settings.scaled(100, 20)
    arena.start_workers()
    told = arena.ask("pace", count, _A_SECOND)
    arena.wait_for(count + 11)  # those of the warm-up, too
    arena.starts.all_of(range(count + 11))
    arena.check(count + 11)
    began = dict(arena.starts.read())
    waits = sorted((began[number] - returned) / 1000 for number, (_, returned) in enumerate(told))
    from_call = [(began[number] - called) / 1000 for number, (called, _) in enumerate(told)]
    return {
        "tasks": count,
        "p50_ms": statistics.median(waits),
        "p95_ms": waits[int(count * 0.95)],
        "from_call_p50_ms": statistics.median(from_call),
    }
