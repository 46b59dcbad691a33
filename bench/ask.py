"""`python -m bench.ask MODULE VERB [NUMBER …]`: one act of a contender, in its own environment; the answer is JSON.

A module has `submit(number)`, and may have `ready`, `prepare`, `submit_all`, `flush`, `unfinished` and acts of its own.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from types import ModuleType
from typing import Any

from bench import witness


def main() -> None:
    """Do it and print the answer."""
    _, name, verb, *numbers = sys.argv
    module = importlib.import_module(f"bench.contenders.{name}")
    getattr(module, "ready", bool)()
    act = getattr(module, verb, None)
    arguments = [float(one) if "." in one else int(one) for one in numbers]
    answer = act(*arguments) if act else _VERBS[verb](module, *arguments)
    print(json.dumps(answer), flush=True)


def fill(module: ModuleType, count: int, first: int = 0) -> float:
    """Submit all tasks, in bulk if the contender knows how; the seconds it took."""
    if hasattr(module, "submit_all"):
        began = time.perf_counter()
        module.submit_all(count, first)
        return time.perf_counter() - began
    return one_by_one(module, count, first)


def one_by_one(module: ModuleType, count: int, first: int = 0) -> float:
    """Submit one task after the other, until the workers are woken; the seconds it took."""
    began = time.perf_counter()
    for number in range(first, first + count):
        module.submit(number)
    getattr(module, "flush", bool)()
    return time.perf_counter() - began


def pace(module: ModuleType, count: int, rate: float) -> list[tuple[int, int]]:
    """Submit `rate` tasks a second to idle workers: when each submit was called and when it had returned."""
    _warm_up(module, count)
    steady = random.Random(1)
    told = []
    for number in range(count):
        time.sleep(steady.uniform(0.5, 1.5) / rate)
        called = witness.now()
        module.submit(number)
        told.append((called, witness.now()))
    return told


def _warm_up(module: ModuleType, first: int) -> None:
    """Until one worker works, and a second longer for the others, and then ten tasks more."""
    before = witness.marks()
    module.submit(first)
    while witness.marks() == before:
        time.sleep(0.01)
    time.sleep(1)
    for number in range(first + 1, first + 11):
        module.submit(number)
        time.sleep(0.05)


_VERBS: dict[str, Any] = {
    "fill": fill,
    "one_by_one": one_by_one,
    "pace": pace,
    "prepare": bool,
    "unfinished": lambda *_: "",
}

if __name__ == "__main__":
    main()
