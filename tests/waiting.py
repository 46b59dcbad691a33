"""Waiting for a fact instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(fact: Callable[[], Any], seconds: float = 15.0, every: float = 0.02) -> Any:
    """What `fact` answers as soon as that is true; AssertionError when it is not in time."""
    ends_at = time.monotonic() + seconds
    while not (answer := fact()):
        assert time.monotonic() < ends_at, f"not within {seconds} s: {fact}"
        time.sleep(every)
    return answer
