"""What a horse is doing, in memory that it shares with its parent and that outlives it.

The horse writes which task runs and what ended but is not in SQL yet; the parent writes which task is to stop. So a
horse that dies costs only its running task an attempt, and nothing that ended runs again.
"""

from __future__ import annotations

import enum
import io
import marshal
import mmap
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs.attempts import Claim, Outcome
from jobs.context import Line, News
from jobs.records import Ended
from jobs.states import State

_ROOM = 1024 * 1024
_RUNNING = struct.Struct("<QqqddQ")  # seq, task, attempt, leased at, deadline, seq again: torn reads show
_ORDER = struct.Struct("<qqB")  # task, attempt, why
_USED = struct.Struct("<Q")
_ORDER_AT = _RUNNING.size
_USED_AT = _ORDER_AT + _ORDER.size
_LEFT_AT = _USED_AT + _USED.size
_ENDED_AT = _LEFT_AT + 1
_SPARE = 160 * 1024  # the largest outcome: a result of 64 KiB, an error and a traceback, with their escapes


class Why(enum.IntEnum):
    """Why a handler is to stop."""

    INTERRUPTED = 1
    TIMED_OUT = 2
    LOST = 3


@dataclass(frozen=True)
class Running:
    """The task that a horse runs. Times are of the machine's monotonic clock; a deadline of 0 is none."""

    task_id: int
    attempt: int
    leased_at: float
    deadline: float


class Board:
    """One horse's memory. Only the horse writes what runs and what ended, only the parent writes orders."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _ROOM)
        self._sequence = 0

    def begin(self, task_id: int, attempt: int, leased_at: float, deadline: float) -> None:
        """A handler is about to be called."""
        self._sequence += 1
        _RUNNING.pack_into(self._memory, 0, self._sequence, task_id, attempt, leased_at, deadline, self._sequence)

    def has_begun(self) -> bool:
        """Whether anything of a task's author ever ran."""
        (sequence, *_) = _RUNNING.unpack_from(self._memory, 0)
        return bool(sequence)

    def idle(self) -> None:
        """Nothing of a task's author runs."""
        self.begin(0, 0, 0.0, 0.0)

    def end(self, ended: Ended) -> bool:
        """The running task ended so; False when there is no room for another end like this one."""
        packed = _pack(ended)
        (used,) = _USED.unpack_from(self._memory, _USED_AT)
        fits = _ENDED_AT + used + len(packed) <= _ROOM
        if fits:
            self._memory[_ENDED_AT + used : _ENDED_AT + used + len(packed)] = packed
            _USED.pack_into(self._memory, _USED_AT, used + len(packed))  # now it counts
        self.idle()
        return bool(fits and _ENDED_AT + used + len(packed) + _SPARE <= _ROOM)

    def forget_ended(self) -> None:
        """What ended is in SQL."""
        _USED.pack_into(self._memory, _USED_AT, 0)

    def leave(self) -> None:
        """The turn is over: nothing is in hand any more."""
        self._memory[_LEFT_AT] = 1

    def has_left(self) -> bool:
        """Whether the turn came to its end. A status says little: handlers and their threads may end processes, too."""
        return bool(self._memory[_LEFT_AT])

    def running(self) -> Running | None:
        """The task that runs; None between two of them, or when it changes just now."""
        first, task_id, attempt, leased_at, deadline, last = _RUNNING.unpack_from(self._memory, 0)
        return Running(task_id, attempt, leased_at, deadline) if first == last and task_id else None

    def ended(self) -> list[Ended]:
        """What ended and may not be in SQL yet. Only for the parent, and when the horse is dead."""
        (used,) = _USED.unpack_from(self._memory, _USED_AT)
        packed, found = io.BytesIO(self._memory[_ENDED_AT : _ENDED_AT + used]), []
        while packed.tell() < used:
            found.append(_unpack(marshal.load(packed)))  # noqa: S302 - our own child wrote it, which has our rights
        return found

    def order(self, running: Running, why: Why) -> None:
        """Tell the horse to stop this attempt."""
        _ORDER.pack_into(self._memory, _ORDER_AT, running.task_id, running.attempt, why)

    def ordered(self) -> tuple[int, int, Why] | None:
        """The task and attempt that is to stop, and why."""
        task_id, attempt, why = _ORDER.unpack_from(self._memory, _ORDER_AT)
        return (task_id, attempt, Why(why)) if task_id else None

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


def _pack(ended: Ended) -> bytes:
    """All of it that `records.record` reads. Ten times as fast as pickle, which counts: it is done for each task."""
    claim, outcome, news = ended.claim, ended.outcome, ended.news
    about = claim.id, claim.business_id, claim.attempt, claim.max_attempts, claim.token, claim.claimed_at.timestamp()
    how = outcome.kind, outcome.result, outcome.error, outcome.traceback, outcome.retry_seconds
    lines = [(line.kind, line.text, line.at.timestamp()) for line in news.lines] if news else []
    said = (lines, news.done, news.total, news.step) if news else None
    whole: Any = (about, outcome.state.value, how, (ended.began, ended.ended, ended.pid), said)
    return marshal.dumps(whole)


def _unpack(packed: Any) -> Ended:
    (id_, business_id, attempt, max_attempts, token, claimed_at), state, how, (began, ended, pid), said = packed
    at = datetime.fromtimestamp(claimed_at, UTC)
    claim = Claim(id_, business_id, "", None, "", {}, attempt, max_attempts, token, at)
    news = said and News([Line(kind, text, datetime.fromtimestamp(at, UTC)) for kind, text, at in said[0]], *said[1:])
    return Ended(claim, Outcome(State(state), *how), began, ended, pid, news)
