"""What a worker's parent does while its horse works: it keeps the lease, stops handlers, and buries the dead.

It does so from outside, since a handler may hold the interpreter, hang in C code or hear nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs import attempts, claims, horses, leases, turns
from jobs.attempts import Claim, Outcome
from jobs.board import Running, Why
from jobs.horses import Horse
from jobs.states import State
from tenants.database import disconnect, transaction

log = structlog.get_logger()

_TICK_SECONDS = 0.05
_AGAIN_SECONDS = 0.2
_BEAT_SECONDS = 1.0
_PATIENCE_SECONDS = 0.5  # the horse may hold a lock and the interpreter, too: then only its end frees both
_MARGIN = 0.2  # of a lease: so long before its end a handler stops whose lease cannot be renewed


class Guard:
    """Watches one horse from the start of its turn to its end."""

    def __init__(
        self,
        horse: Horse,
        worker: str,
        *,
        knocks: Callable[[], bool],
        stops: Callable[[], int],
        beat: Callable[[], None],
    ) -> None:
        """`knocks` tells, once, that somebody asks to look at the task's row; `stops` how often SIGTERM came.

        `beat` is called about once a second.
        """
        self._horse, self._worker, self._knocks, self._stops, self._beat = horse, worker, knocks, stops, beat
        self._beaten_at = time.monotonic()
        self._settings = turns.settings
        self._running: Running | None = None
        self._renewed_at = time.monotonic()  # when the lease of what runs was known to be good
        self._cancelling: set[int] = set()  # also of those that the horse has claimed and not begun
        self._ordered: tuple[Why, float] | None = None
        self._told_at: float | None = None  # that the turn is to end
        self._was_stopped = False

    def watch(self) -> bool:
        """Return when the horse has ended; whether it died at work, and was buried."""
        while not self._horse.has_ended(_TICK_SECONDS):
            self._stop_with_worker()
            if time.monotonic() - self._beaten_at >= _BEAT_SECONDS:
                self._beat()
                self._beaten_at = time.monotonic()
            if running := self._horse.board.running():
                self._look_after(running)
        if self._horse.board.has_left():
            return False
        self._bury()
        return True

    def _look_after(self, running: Running) -> None:
        now = time.monotonic()
        if self._running is None or (running.task_id, running.attempt) != (
            self._running.task_id,
            self._running.attempt,
        ):
            self._renewed_at, self._ordered = running.leased_at, None
        self._running = running
        if self._knocks() or now - self._renewed_at >= self._settings.heartbeat_seconds:
            self._renew(running)
        if running.task_id in self._cancelling:
            self._order(running, Why.INTERRUPTED)
        if now >= self._lost_at():
            self._order(running, Why.LOST)
        if running.deadline and now >= running.deadline:
            self._order(running, Why.TIMED_OUT)
        if self._ordered and time.monotonic() - self._ordered[1] >= self._patience(self._ordered[0]):
            log.warning("a handler did not stop", task=running.task_id, why=self._ordered[0].name)
            self._horse.signal(signal.SIGKILL)

    def _renew(self, running: Running) -> None:
        """The heartbeat, which also tells what became of the task meanwhile."""
        sent_at = time.monotonic()
        try:
            with (
                self._stopping_in_time(running),
                transaction(claims=True, durable=False, patience=_PATIENCE_SECONDS) as session,
            ):
                states = claims.renew(session, self._worker, self._horse.pid, self._settings.lease_seconds)
        except SQLAlchemyError as error:
            log.warning("the lease is not renewed yet", task=running.task_id, error=str(error))
            return
        finally:
            disconnect()  # no connection may be open when the next horse is forked
        self._cancelling = {id_ for id_, state in states.items() if state is State.CANCELLING}
        if running.task_id not in states and self._horse.board.running() == running:
            self._order(running, Why.LOST)
        self._renewed_at = sent_at

    @contextlib.contextmanager
    def _stopping_in_time(self, running: Running) -> Iterator[None]:
        """While we wait in this block for a database that neither answers nor refuses, a lease may end all the same."""
        answered = threading.Event()
        beside = threading.Thread(target=self._stop_in_time, args=(running, answered), name="lease", daemon=True)
        beside.start()
        try:
            yield
        finally:
            answered.set()
            beside.join()  # no thread may be at work when the next horse is forked

    def _stop_in_time(self, running: Running, answered: threading.Event) -> None:
        if answered.wait(max(0.0, self._lost_at() - time.monotonic())):
            return
        self._order(running, Why.LOST)
        if not answered.wait(self._patience(Why.LOST)):
            self._horse.signal(signal.SIGKILL)

    def _lost_at(self) -> float:
        return self._renewed_at + self._settings.lease_seconds * (1 - _MARGIN)

    def _order(self, running: Running, why: Why) -> None:
        """Ask the handler to stop. What cannot keep its lease stops even if it was asked before."""
        if self._ordered is None or (why is Why.LOST and self._ordered[0] is not why):
            self._ordered = why, time.monotonic()
            self._horse.board.order(running, why)
            self._horse.signal(horses.STOP)

    def _patience(self, why: Why) -> float:
        return self._settings.lease_seconds * _MARGIN / 2 if why is Why.LOST else self._settings.grace_seconds

    def _stop_with_worker(self) -> None:
        """SIGTERM: the running task may end within some time; a second one ends it at once."""
        stops, now = self._stops(), time.monotonic()
        if stops and self._told_at is None:
            self._told_at = now
            self._horse.signal(signal.SIGTERM)
        if self._told_at is not None and (stops > 1 or now - self._told_at >= self._settings.stop_seconds):
            self._was_stopped = True
            self._horse.signal(signal.SIGKILL)

    def _bury(self) -> None:
        """Write what the dead horse could not, for as long as its leases may last: then they are the beat's."""
        running = self._horse.board.running()
        at = (running.task_id, running.attempt) if running else None
        dead = leases.Dead(self._worker, self._horse.pid, self._horse.board.ended(), at, self._outcome)
        if at or self._horse.status != horses.FAILED:
            log.warning("a horse died", status=self._horse.status, task=at)
        until, is_told = time.monotonic() + self._settings.lease_seconds, False
        while time.monotonic() < until:
            try:
                with transaction(claims=True, patience=_PATIENCE_SECONDS) as session:
                    leases.bury(session, dead)
            except SQLAlchemyError as error:
                if not is_told:
                    log.warning("a dead horse is not written yet", error=str(error))
                is_told = True
                time.sleep(_AGAIN_SECONDS)
            else:
                return
            finally:
                disconnect()

    def _outcome(self, claim: Claim) -> Outcome:
        if self._ordered and self._ordered[0] is Why.TIMED_OUT:
            return attempts.timed_out(claim)
        if self._was_stopped:
            return attempts.lost(claim, "The worker was stopped.")
        return attempts.lost(claim, f"Its process ended at work: {_cause(self._horse.status or 0)}.")


def _cause(status: int) -> str:
    return signal.Signals(-status).name if -status in set(signal.Signals) else f"status {status}"
