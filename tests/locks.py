"""Looking at the door before SQLite's write lock."""

from __future__ import annotations

import fcntl
from pathlib import Path


def is_locked(door: Path) -> bool:
    """Whether somebody stands in it."""
    with door.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
