"""Several workers from one process: it imports and rehearses once, forks them, and forks again what dies.

So a worker costs little memory of its own, and a command line is a supervisor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

import structlog

from processes import die_with

log = structlog.get_logger()

_AGAIN_SECONDS = 1.0  # between two starts of the same place
_TICK_SECONDS = 0.2


class Pool:
    """Keeps a number of workers at work until it is told to stop; tells them, and waits for them."""

    def __init__(self, size: int, work: Callable[[], int]) -> None:
        """`work` is a worker's whole life; it answers its exit status."""
        self._work = work
        self._places: dict[int, int | None] = dict.fromkeys(range(size))
        self._started_at = dict.fromkeys(range(size), 0.0)
        self._stops = 0

    def run(self) -> int:
        """Return when all have ended after SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stops or self._alive():
            for place in self._places:
                self._look_after(place)
            time.sleep(_TICK_SECONDS)
        return 0

    def _look_after(self, place: int) -> None:
        pid = self._places[place]
        if pid is not None and os.waitpid(pid, os.WNOHANG)[0]:
            self._places[place] = None
            if not self._stops:
                log.warning("a worker ended and is started again", pid=pid)
        is_due = time.monotonic() - self._started_at[place] >= _AGAIN_SECONDS
        if self._places[place] is None and is_due and not self._stops:
            self._started_at[place] = time.monotonic()
            try:
                self._places[place] = self._fork()
            except OSError as error:  # the other workers are not to end for it
                log.warning("a worker cannot be started yet", error=str(error))
            if self._stops:  # it came while we forked, and reached only the others
                self._tell(self._places[place], signal.SIGTERM)

    def _fork(self) -> int:
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            status = 1
            try:
                die_with(parent)
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                status = self._work()
            except BaseException:  # whatever it was, this process must not go on as its parent
                log.exception("a worker failed")
            finally:
                os._exit(status)
        return pid

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Pass it on, each time: a second one makes workers give their running tasks back."""
        self._stops += 1
        for pid in self._alive():
            self._tell(pid, number)

    @staticmethod
    def _tell(pid: int | None, number: int) -> None:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it was waited for at this very moment
                os.kill(pid, number)

    def _alive(self) -> list[int]:
        return [pid for pid in self._places.values() if pid is not None]
