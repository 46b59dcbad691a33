"""The states of a task and the moves between them that are legal."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """Where a task stands. Pages show the value capitalised."""

    PENDING = "pending"
    PAUSED = "paused"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


WAITING = frozenset({State.PENDING, State.PAUSED})
FINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELED})

MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PAUSED, State.RUNNING, State.CANCELLING, State.CANCELED}),
    State.PAUSED: frozenset({State.PENDING, State.CANCELLING, State.CANCELED}),
    State.RUNNING: frozenset({State.PENDING, State.CANCELLING, *FINAL}),
    State.CANCELLING: frozenset({State.PENDING, State.CANCELED}),  # Pending: a deletion that is undone
    **{final: frozenset() for final in FINAL},
}
