"""Processes that end with their parent, so that `kill -9` leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded before any fork


def die_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel (Linux) to signal this process when the thread that started it ends. `parent` is its id."""
    _libc.prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def dying_with_me(by: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` for `subprocess.Popen`: the child ends when this process does."""
    me = os.getpid()
    return lambda: die_with(me, by)
