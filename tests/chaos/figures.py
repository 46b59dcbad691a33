"""The figures of a run, and the table for the reliability page."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.evidence import Evidence


@dataclass(frozen=True)
class Figures:
    """What a run did, and how long the losses took. Seconds, or None when there was nothing to measure."""

    tasks: int
    states: dict[str, int]
    attempts: int
    faults: dict[str, int]
    pauses: int
    interrupts: dict[str, int]
    skipped: dict[str, int]
    begun_twice: int
    horse_notice: list[float]
    worker_notice: list[float]
    again: list[float]


def figures(evidence: Evidence) -> Figures:
    """Count a run."""
    noticed = evidence.entries("noticed")
    interrupts = evidence.entries("interrupt")
    return Figures(
        tasks=len(evidence.tasks),
        states=dict(collections.Counter(row.state for row in evidence.tasks.values())),
        attempts=len(evidence.attempts),
        faults=dict(collections.Counter(one["kind"] for one in evidence.entries("fault"))),
        pauses=sum(one["answer"] is not None for one in evidence.entries("pause")),
        interrupts=dict(
            collections.Counter(one["answer"]["found"] if one["answer"] else "refused" for one in interrupts)
        ),
        skipped=dict(collections.Counter(one["what_not"] for one in evidence.entries("skipped"))),
        begun_twice=sum(len(begins) > 1 for begins in evidence.begins_of.values()),
        horse_notice=[one["after"] for one in noticed if one["kind"] in ("horse", "poison")],
        worker_notice=[one["after"] for one in noticed if one["kind"] not in ("horse", "poison")],
        again=[seconds for _, seconds in again(evidence)],
    )


def again(evidence: Evidence) -> list[tuple[tuple[int, int], float]]:
    """Each start that a fault cut off, with the seconds until the task's next begin, if nobody paused it meanwhile."""
    took = []
    for fault in evidence.faults("horse", "worker", "both", "frozen"):
        for task, attempt in fault["victims"]:
            later = [line.at for line in evidence.begins_of.get(task, []) if line.attempt > attempt]
            if later and not evidence.was_paused(task, fault["since"], later[0]):
                took.append(((task, attempt), later[0] - fault["since"]))
    return took


def quantile(values: Sequence[float], part: float) -> float | None:
    """The value that this part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def spread(values: Sequence[float]) -> str:
    """Median, 99th percentile and the most."""
    if not values:
        return "-"
    return " / ".join(
        f"{seconds:.1f}" for seconds in (quantile(values, 0.5) or 0, quantile(values, 0.99) or 0, max(values))
    )
