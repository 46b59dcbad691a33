"""Interleaved rounds: in each, every contender is measured once, in an order that rotates."""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.arena import arena
from bench.machine import Steadiness
from bench.roster import Contender
from bench.servers import Broker, PostgreSQL
from bench.settings import Settings
from bench.starts import Void

_QUICK_SECONDS = 140.0  # after these, QUICK leaves out the rest
_began = time.monotonic()

Figures = dict[str, Any]  # of a contender in a round: its figures, or {"void": why}
Round = dict[str, Figures]


def run(name: str, settings: Settings, postgresql: PostgreSQL, steadiness: Steadiness) -> list[Round]:
    """The rounds of a scenario that count."""
    scenario = importlib.import_module(f"bench.scenarios.{name}")
    counted = min(settings.rounds, scenario.MAX_ROUNDS or settings.rounds)
    discarded = getattr(scenario, "DISCARDED", settings.discarded)
    there = [one for one in scenario.CONTENDERS if not one.is_missing]
    rounds = []
    for number in range(discarded + counted):
        say(f"{name}: round {number + 1} of {discarded + counted}")
        steadiness.new_round()
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
            broker = Broker(Path(folder))
            try:
                rounds.append(_round(scenario, _rotated(there, number), steadiness, (settings, broker, postgresql)))
            finally:
                broker.stop()
    return rounds[discarded:]


def _round(
    scenario: Any,
    contenders: Sequence[Contender],
    steadiness: Steadiness,
    place: tuple[Settings, Broker, PostgreSQL],
) -> Round:
    figures: Round = {}
    for one in contenders:
        began = time.monotonic()
        if place[0].quick and began - _began > _QUICK_SECONDS:
            figures[one.name] = {"void": "QUICK has no time left for it"}
            continue
        steadiness.look()
        try:
            with arena(one, *place) as made:
                figures[one.name] = scenario.measure(made)
        except Void as why:
            figures[one.name] = {"void": str(why)}
        say(f"  {one.name}: {_shown(figures[one.name])} ({time.monotonic() - began:.0f} s)")
    return figures


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def _rotated(contenders: Sequence[Contender], by: int) -> list[Contender]:
    by %= max(1, len(contenders))
    return [*contenders[by:], *contenders[:by]]


def _shown(figures: Figures) -> str:
    return ", ".join(
        f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )
