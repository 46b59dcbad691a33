"""Processes that end with their parent, so that `kill -9` leaves nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
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


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, whatever session it made."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(keep: Collection[int]) -> None:
    """Kill every child of this process but those in `keep`, and then what they leave behind. For one that adopts."""
    while strays := _children() - set(keep):
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _children() -> set[int]:
    """The children of this process, zombies included."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            found.update(map(int, (thread / "children").read_text().split()))
    return found
