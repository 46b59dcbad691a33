"""A worker's horse: the forked process that works for one business for one turn, and for no other ever."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from typing import NoReturn

import structlog

from jobs import attempts, rehearsal, turns
from jobs.attempts import Interrupted, LeaseLost, TimedOut
from jobs.board import Board, Why
from processes import adopt_orphans, die_with

log = structlog.get_logger()

STOP = signal.SIGUSR1  # "look at your board: the handler at work is to stop"
FAILED = 1  # the status of one that has said itself why
_ERRORS = {
    Why.INTERRUPTED: Interrupted("interrupted"),
    Why.TIMED_OUT: TimedOut("It ran longer than its timeout."),
    Why.LOST: LeaseLost("Its lease could not be renewed."),
}
_MAX_TURN_BYTES = 4096  # what a pipe takes as one piece


class Horse:
    """A process that is forked before its turn is there, so that it has imported and connected already."""

    def __init__(self) -> None:
        """OSError when there is no room for one more process or file."""
        self.board = Board()
        self.status: int | None = None
        parent, turn = os.getpid(), os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            for end in turn:
                os.close(end)
            raise
        if self.pid == 0:
            _live(parent, turn, self.board)
        os.close(turn[0])
        self._turn = turn[1]
        self._ended = os.pidfd_open(self.pid)

    def start(self, business_id: int, name: str, ticket: str, *, is_quiet: bool = False) -> None:
        """Let it take this turn. BrokenPipeError when it is dead already. `is_quiet`: an error was told before."""
        os.write(self._turn, json.dumps([business_id, name, ticket, is_quiet]).encode())

    def has_ended(self, seconds: float) -> bool:
        """Whether it has ended; waits so long for it. Then `status` is its exit status, minus a signal's number."""
        if self.status is None and select.select([self._ended], [], [], seconds)[0]:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def signal(self, what: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ended, what)

    def close(self) -> None:
        """End it, if it lives, and give back what it holds here."""
        os.close(self._turn)  # one that waits for its turn ends by itself
        if not self.has_ended(1.0):
            self.signal(signal.SIGKILL)
            self.has_ended(5.0)
        os.close(self._ended)
        self.board.close()


def _live(parent: int, turn: tuple[int, int], board: Board) -> NoReturn:
    """A horse's whole life. It leaves by `_exit`, since nothing of its parent's is its to clean up."""
    status, is_quiet = FAILED, False
    try:
        os.close(turn[1])
        os.setpgrp()
        die_with(parent)
        adopt_orphans()
        _listen(board)
        rehearsal.limber()
        if asked := os.read(turn[0], _MAX_TURN_BYTES):
            business_id, name, ticket, is_quiet = json.loads(asked)
            turns.run(business_id, name, ticket, board)
            board.leave()
        status = 0
    except Exception:
        if not is_quiet:
            log.exception("a turn failed")
    finally:
        os._exit(status)


def _listen(board: Board) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: turns.stop_soon())

    def stop(*_: object) -> None:
        if ordered := board.ordered():
            task_id, attempt, why = ordered
            attempts.stop(task_id, attempt, _ERRORS[why])

    signal.signal(STOP, stop)
    attempts.listen(stop)
