"""A pause while a flood of its user's tasks stands at the head of the queue, and its end."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

from bench import probe, witness
from bench.arena import Arena
from bench.roster import SLUICE
from bench.starts import Void

CONTENDERS = SLUICE
MAX_ROUNDS = 3
_FLOOD, _BEFORE, _BEHIND, _AFTER = 0, 1_000_000, 1_100_000, 1_200_000  # first numbers


def measure(arena: Arena) -> dict[str, float]:
    """Milliseconds of the pause, of the resume, until others and the resumed begin; and what claims cost meanwhile."""
    return _Story(arena).tell()


class _Story:
    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._flood = arena.settings.scaled(100_000, 5_000)
        self._others = arena.settings.scaled(10_000, 1_000)
        self._compared = arena.settings.scaled(40_000, 1_000)  # 140 claims: the medians of 36 were 0.9 to 1.6 apart
        self._claims = Path(arena.starts.path).with_name("claims")
        self._ids = self._ask("prepare_pause")
        task_modules = "bench.task_types,bench.probe"
        arena.start_workers(TASK_MODULES=task_modules, BENCH_CLAIMS=str(self._claims))

    def tell(self) -> dict[str, float]:
        before = self._claims_of_others(_BEFORE)
        self._ask("flood", self._ids["business"], self._ids["ben"], _FLOOD, self._flood)
        self._arena.wait_for(2 * self._compared + 10)
        self._healthy(_BEHIND, self._others, self._ids["business"])
        figures = self._pause()
        after = self._claims_of_others(_AFTER)
        if all(before) and all(after):
            (here, elsewhere), (paused, free) = before, after
            figures["settled_claim_ratio"] = paused / free
            figures["unpaused_claim_ratio"] = here / elsewhere  # 1, or the two are not alike
            figures["aged_claim_ratio"] = free / elsewhere  # what 100,000 more rows and a minute cost without a pause
        return {**figures, **self._resume()}

    def _pause(self) -> dict[str, float]:
        """Pause Ben; others go on; nothing of Ben's begins after the answer."""
        self._pause_id, called, answered = self._ask("pause", *(self._ids[name] for name in ("business", "ada", "ben")))
        behind = range(_BEHIND, _BEHIND + self._others)
        self._arena.wait_for_these(behind)
        self._ask("wait_until_settled", self._ids["ben"], self._flood)
        late = [at for at in self._arena.starts.of(range(self._flood)) if at > answered]
        if late:
            raise Void(f"{len(late)} tasks of the paused user began after the answer")
        starts, took = self._arena.starts.of(behind), self._claims_since(called, self._ids["business"])
        return {
            "pause_ms": (answered - called) / 1000,
            "healthy_ms": (starts[0] - called) / 1000,
            "gap_max_ms": max(b - a for a, b in itertools.pairwise(starts)) / 1000,
            **({"claim_max_ms": max(took), "claim_p50_ms": statistics.median(took)} if took else {}),
        }

    def _resume(self) -> dict[str, float]:
        called, answered = self._ask("resume", self._pause_id, self._ids["ada"])
        ours = range(self._flood)
        self._arena.wait_until(lambda: self._arena.starts.of(ours)[-1] > called)
        first = next(at for at in self._arena.starts.of(ours) if at > called)
        return {"resume_ms": (answered - called) / 1000, "resumed_ms": (first - called) / 1000}

    def _healthy(self, first: int, count: int, *ids: int) -> range:
        """So many tasks of others in each of these businesses; all their numbers."""
        self._ask("healthy", self._ids["ada"], first, count, *ids)
        return range(first, first + count * len(ids))

    def _claims_of_others(self, first: int) -> tuple[float, float]:
        """The median milliseconds of claims while nothing of the flood may start, here and elsewhere; 0 if none.

        Workers take turns for the one and the other: minutes differ by more than a pause costs.
        """
        since, ids = witness.now(), (self._ids["business"], self._ids["elsewhere"])
        self._arena.wait_for_these(self._healthy(first, self._compared, *ids))
        here, elsewhere = (statistics.median(self._claims_since(since, one) or [0.0]) for one in ids)
        return here, elsewhere

    def _claims_since(self, since: int, business: int) -> list[float]:
        return [took / 1000 for sent, took, whose in probe.read(self._claims) if sent >= since and whose == business]

    def _ask(self, verb: str, *numbers: int) -> Any:
        return self._arena.ask(verb, *numbers, module="sluice_crowd")
