"""Nineteen businesses with a little work beside one that has flooded the queue, and the same nineteen alone."""

from __future__ import annotations

from typing import Any

from bench.arena import Arena
from bench.roster import SLUICE

CONTENDERS = SLUICE
MAX_ROUNDS = 3
_SMALL = 19
_ALONE, _TOGETHER, _FLOOD = 100_000, 200_000, 1_000_000  # first numbers


def measure(arena: Arena) -> dict[str, float]:
    """Seconds until the nineteen are done, alone and beside the flood, and how that compares with a fair share."""
    each = arena.settings.scaled(100, 10)
    flooding, *small = _ask(arena, "prepare_crowd", _SMALL + 1)
    arena.start_workers()
    _ask(arena, "flood", flooding, 0, 0, 10)  # until the workers are up
    arena.wait_for(10)
    alone = _crowd(arena, _ALONE, each, small)
    _ask(arena, "flood", flooding, 0, _FLOOD, arena.settings.scaled(100_000, 5_000))
    arena.wait_for_these(range(_FLOOD, _FLOOD + 20))
    together = _crowd(arena, _TOGETHER, each, small)
    fair = alone * (_SMALL + 1) / _SMALL
    return {"tasks": each * _SMALL, "alone_s": alone, "together_s": together, "slowdown": together / fair}


def _crowd(arena: Arena, first: int, each: int, small: list[int]) -> float:
    """Seconds from the first submit until the last of their tasks begins."""
    numbers = range(first, first + each * _SMALL)
    called = _ask(arena, "crowd", first, each, *small)
    arena.wait_for_these(numbers)
    return float(arena.starts.all_of(numbers)[-1] - called) / 1e6


def _ask(arena: Arena, verb: str, *numbers: int) -> Any:
    return arena.ask(verb, *numbers, module="sluice_crowd")
