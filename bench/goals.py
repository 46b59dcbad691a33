"""The goals, and whether the figures of a run meet them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.roster import (
    CELERY,
    DRAMATIQ,
    FLOWER,
    HUEY,
    POSTGRESQL,
    PROCRASTINATE,
    RQ,
    RQ_DASHBOARD,
    SLUICE,
    SQLITE,
    Contender,
)

Run = dict[str, Any]  # what a results file holds
_MISSED = "**no**"
_FLOOR = ("1", "2", "4")


@dataclass(frozen=True)
class Goal:
    """A bound for one figure of Sluice, or for its ratio to a peer's in the same round."""

    number: str
    what: str
    scenario: str
    ours: Contender
    key: str
    wanted: float
    at_least: bool = False
    peer: Contender | None = None

    @property
    def bound(self) -> str:
        """The bound as people read it."""
        return f"{'≥' if self.at_least else '≤'} {self.wanted:,g}{f' x {self.peer.name}' if self.peer else ''}"

    def is_met(self, value: float) -> bool:
        """Whether a figure or ratio is on the right side."""
        return value >= self.wanted if self.at_least else value <= self.wanted


def values(run: Run, scenario: str, name: str, key: str) -> list[float]:
    """A figure of one contender, in every round that counts for it."""
    rounds = run["scenarios"].get(scenario, [])
    return [one[name][key] for one in rounds if key in one.get(name, {})]


def ratios(run: Run, goal: Goal) -> list[float]:
    """Ours to theirs in each round in which both count."""
    rounds = run["scenarios"].get(goal.scenario, [])
    pairs = [(one.get(goal.ours.name, {}), one.get(goal.peer.name, {})) for one in rounds if goal.peer]
    return [ours[goal.key] / theirs[goal.key] for ours, theirs in pairs if goal.key in ours and goal.key in theirs]


def verdict(run: Run, goal: Goal) -> str:
    """Yes, no, or why neither."""
    if goal.scenario not in run["scenarios"]:
        return "not measured"
    if goal.peer and goal.peer.name in run["missing"]:
        return f"{goal.peer.name} is missing"
    found = ratios(run, goal) if goal.peer else values(run, goal.scenario, goal.ours.name, goal.key)
    if not found:
        return "no figure"
    if run["quick"] or run["doubts"]:
        return "not judged"
    return "yes" if goal.is_met(statistics.median(found)) else _MISSED


def below_floor(run: Run) -> list[str]:
    """The goals of throughput that a judged run misses: drain and bulk submits must not become slower unseen."""
    missed = [goal for goal in GOALS if goal.number in _FLOOR and verdict(run, goal) == _MISSED]
    return [f"{goal.what} {goal.bound}" for goal in missed]


def _drains(number: str, ours: Contender, bounds: dict[Contender, float]) -> list[Goal]:
    """A drain that is so many times as fast as each of these peers'."""
    what = f"drain/s, {ours.name.rpartition(' ')[2]}"
    return [
        Goal(number, what, "drain", ours, "rate", wanted, at_least=True, peer=peer) for peer, wanted in bounds.items()
    ]


def _on_both(number: str, what: str, scenario: str, key: str, wanted: float, **more: Any) -> list[Goal]:
    return [
        Goal(number, f"{what}, {one.name.rpartition(' ')[2]}", scenario, one, key, wanted, **more) for one in SLUICE
    ]


GOALS: Sequence[Goal] = [
    *_drains("1", SQLITE, {HUEY: 2, DRAMATIQ: 4, CELERY: 15, RQ: 100}),
    *_drains("2", POSTGRESQL, {HUEY: 1.2, PROCRASTINATE: 20}),
    *_on_both("3", "pick-up p50, ms", "pickup", "p50_ms", 1, peer=RQ),
    *_on_both("3, stretch", "pick-up p50 from the call, ms", "pickup", "from_call_p50_ms", 2, peer=HUEY),
    *_on_both("4", "bulk submit/s", "submit", "bulk_rate", 20_000, at_least=True),
    *_on_both("5", "single submit/s", "submit", "single_rate", 1, at_least=True, peer=RQ),
    *_on_both("6", "pause answers, ms", "pause", "pause_ms", 150),
    *_on_both("6", "resume answers, ms", "pause", "resume_ms", 150),
    *_on_both("6", "first healthy task after the pause, ms", "pause", "healthy_ms", 1000),
    *_on_both("6", "longest claim meanwhile, ms", "pause", "claim_max_ms", 20),
    *_on_both("6", "claims of others once settled / where nothing is paused", "pause", "settled_claim_ratio", 1.1),
    *_on_both("7", "first start after the resume, ms", "pause", "resumed_ms", 1000),
    *_on_both("8", "19 businesses beside a flood / alone x 20/19", "fairness", "slowdown", 1.2),
    *_on_both("9", "page of tasks p95, ms", "pages", "p95_ms", 25),
    *_on_both("10", "list, page 1, p50, ms", "dashboards", "page_1_p50_ms", 1 / 20, peer=FLOWER),
    *_on_both("10", "list, page 50, p50, ms", "dashboards", "page_50_p50_ms", 1 / 20, peer=FLOWER),
    *_on_both("10", "list, page 50, p50, ms", "dashboards", "page_50_p50_ms", 1 / 50, peer=RQ_DASHBOARD),
    *_on_both("11", "worker's peak, MB", "memory", "worker_mb", 1.5, peer=HUEY),
    *_on_both("11", "horse's peak, MB", "memory", "horse_mb", 1.5, peer=HUEY),
    *_on_both("11", "worker's growth over the run", "memory", "worker_growth", 1.1),
    *_on_both("11", "horses' growth over the run", "memory", "horse_growth", 1.1),
    *_on_both("11", "broker memory, many waiting / few", "memory", "broker_growth", 1.1),
    *_on_both("11", "web server's growth over its requests", "growth", "web_growth", 1.1),
    *_on_both("11", "scheduler's growth over its beats", "growth", "scheduler_growth", 1.1),
]
