"""A turn: about a second of work for one business on one queue. `run` is the only function that RQ ever calls."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs import attempts, claims, judge, queue
from jobs.attempts import Claim
from jobs.claims import Ended
from jobs.context import TaskContext
from tenants.database import transaction

log = structlog.get_logger()

MAX_BATCH = 100
_TICK_SECONDS = judge.CLAIM_VALID_SECONDS
_NEWS_SECONDS = 0.5


@dataclass(frozen=True)
class Settings:
    """How this process takes its turns."""

    worker: str = "here"
    slice_seconds: float = 1.0
    lease_seconds: float = 10.0
    heartbeat_seconds: float = 3.0


settings = Settings()


def run(business_id: int, name: str, ticket: str) -> None:
    """Work for one business for about a second."""
    queue.quietly(queue.begin_turn, business_id, name, ticket)
    turn = _Turn(business_id, name)
    beside = threading.Thread(target=turn.keep, name="keeper", daemon=True)
    if turn.exchange():
        if turn.more_ready:
            queue.quietly(queue.wake_now, business_id, name)  # so that an idle worker joins at once
        beside.start()
        while True:
            while begun := turn.next():
                turn.perform(*begun)
            if not turn.exchange():
                break
        turn.over.set()
        beside.join()
    if turn.more_ready:
        queue.quietly(queue.wake_now, business_id, name)
    queue.flush()  # what handlers submitted


class _Turn:
    """What a turn has in hand. The handler runs in one thread; `keep` looks after the rest in another."""

    def __init__(self, business_id: int, name: str) -> None:
        self.business_id, self.name = business_id, name
        self.more_ready = False
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._ends_at = time.monotonic() + settings.slice_seconds
        self._unbegun: deque[Claim] = deque()
        self._ended: list[Ended] = []
        self._running: tuple[Claim, TaskContext] | None = None
        self._held: list[Claim] = []  # claimed, but paused before they began
        self._sent_at = self._checked_at = 0.0  # monotonic, from before the claim, or the check, was sent
        self._usual_seconds: float | None = None  # what a task takes, as seen so far
        self._beaten_at = self._told_at = 0.0

    def exchange(self) -> bool:
        """Record what ended, give back what was held and claim the next batch, in one transaction."""
        with self._lock:
            first = self._usual_seconds is None
            room, self._sent_at = self._room(), time.monotonic()
            self._checked_at = self._sent_at
            with transaction(claims=True) as session:
                judge.let_claims_pass(session, self.business_id)
                claims.record(session, self._ended, settings.worker)
                claims.give_back(session, self._held)
                found = room and claims.claim(
                    session,
                    self.business_id,
                    self.name,
                    limit=room,
                    worker=settings.worker,
                    lease_seconds=settings.lease_seconds,
                )
                if first or not found:
                    self.more_ready = claims.any_ready(session, self.business_id, self.name)
            self._ended, self._held, self._unbegun = [], [], deque(found or ())
            return bool(found)

    def next(self) -> tuple[Claim, TaskContext] | None:
        """The next task to begin; None when the claims are used up, or given back by `keep`."""
        with self._lock:
            while self._unbegun and self._is_stale():
                self._check_again()
            if not self._unbegun:
                return None
            claim = self._unbegun.popleft()
            self._running = claim, TaskContext(claim.id, claim.attempt, claim.business, claim.user)
            self._beaten_at = self._told_at = self._sent_at
            return self._running

    def perform(self, claim: Claim, context: TaskContext) -> None:
        """Run one handler and keep its outcome in hand."""
        began = time.monotonic()
        outcome = attempts.perform(claim, context)
        with self._lock:
            ended, self._running = time.monotonic(), None
            # The database's clock, carried on by ours for the short way from the claim.
            started_at, ended_at = (claim.claimed_at + timedelta(seconds=at - self._sent_at) for at in (began, ended))
            self._ended.append(Ended(claim, outcome, started_at, ended_at, context.news()))
            took, usual = ended - began, self._usual_seconds
            self._usual_seconds = took if usual is None else 0.8 * usual + 0.2 * took

    def keep(self) -> None:
        """While one handler runs long: renew its lease, write what it says, and let nothing wait behind it."""
        while not self.over.wait(_TICK_SECONDS):
            with self._lock:
                if self._running is None:
                    continue
                try:
                    self._look_after(*self._running)
                except SQLAlchemyError as error:  # tried again at the next tick; the lease decides in the end
                    log.warning("the database does not answer", error=str(error))

    def _look_after(self, claim: Claim, context: TaskContext) -> None:
        now = time.monotonic()
        if self._is_stale() and (self._unbegun or self._ended or self._held):
            self._let_go()
        news = context.news() if now - self._told_at >= _NEWS_SECONDS else None
        beat = now - self._beaten_at >= settings.heartbeat_seconds
        if news or beat:
            with transaction(claims=True) as session:
                if news:
                    claims.tell(session, [(claim, news)])
                    self._told_at = now
                if beat and claims.renew(session, claim, settings.lease_seconds):
                    self._beaten_at = now

    def _let_go(self) -> None:
        """Write the finished and give back the unbegun, which another worker may take now."""
        with transaction(claims=True) as session:
            claims.record(session, self._ended, settings.worker)
            claims.give_back(session, [*self._unbegun, *self._held])
        if self._unbegun:
            queue.quietly(queue.wake_now, self.business_id, self.name)
        self._ended, self._held, self._unbegun = [], [], deque()

    def _is_stale(self) -> bool:
        return time.monotonic() - self._checked_at >= judge.CLAIM_VALID_SECONDS

    def _check_again(self) -> None:
        """Ask once more whether the claimed may start; what may not goes back with the next exchange."""
        self._checked_at = time.monotonic()
        with transaction(read_only=True) as session:
            good = claims.still_good(session, self.business_id, self._unbegun)
        self._held += [one for one in self._unbegun if one.id not in good]
        self._unbegun = deque(one for one in self._unbegun if one.id in good)

    def _room(self) -> int:
        """How many tasks to claim: one at first, then what takes half of the time that a claim is valid."""
        if time.monotonic() >= self._ends_at:
            return 0
        if self._usual_seconds is None:
            return 1
        return max(1, min(MAX_BATCH, int(judge.CLAIM_VALID_SECONDS / 2 / max(self._usual_seconds, 1e-6))))
