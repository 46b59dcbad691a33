"""A turn: about a second of work for one business on one queue. `run` is the only function that RQ ever calls."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import attempts, claims, judge, limits, picks, queue, records, task_types
from jobs.attempts import Call, Claim
from jobs.board import Board
from jobs.context import TaskContext
from jobs.records import Ended
from jobs.states import State
from jobs.stretches import Passed
from tenants.database import transaction

log = structlog.get_logger()

MAX_BATCH = 300  # the commit is what a batch shares; DECISIONS.md has the figures
_ALONE_SECONDS = 0.02  # of a turn, before it looks whether others could help
_TICK_SECONDS = judge.CLAIM_VALID_SECONDS
_NEWS_SECONDS = 0.5
_AGAIN_SECONDS = 0.2
_CHECKS = 3  # of a claim that grew old; a database that takes 50 ms for each of them is too slow


@dataclass(frozen=True)
class Settings:
    """How this process takes its turns."""

    worker: str = "here"
    slice_seconds: float = 1.0
    lease_seconds: float = 10.0
    heartbeat_seconds: float = 3.0
    grace_seconds: float = 10.0
    stop_seconds: float = 25.0


settings = Settings()
_is_stopping = threading.Event()


def stop_soon() -> None:
    """Let this process's turn end with the task at hand; what it has not begun goes back."""
    _is_stopping.set()


def run(business_id: int, name: str, ticket: str, board: Board | None = None) -> None:
    """Work for one business for about a second.

    `board` is how a worker's parent, which has begun the turn, sees what this process does.
    """
    if board is None:
        queue.quietly(queue.begin_turn, business_id, name, ticket)
    turn = _Turn(business_id, name, board)
    beside = threading.Thread(target=turn.keep, name="keeper", daemon=True)
    if turn.exchange():
        beside.start()
        try:
            turn.work()
        finally:
            turn.over.set()
            beside.join()
    if turn.claimed:  # what others hold locked is theirs, or the beat's
        turn.call_for_more(is_last=True)
    queue.flush()  # what handlers submitted


class _Turn:
    """What a turn has in hand. The handler runs in one thread; `keep` looks after the rest in another."""

    def __init__(self, business_id: int, name: str, board: Board | None = None) -> None:
        self.business_id, self.name, self._board = business_id, name, board or Board()
        self.claimed = 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._ends_at = time.monotonic() + settings.slice_seconds
        self._calls_at = time.monotonic() + _ALONE_SECONDS  # for help, once
        self._unbegun: deque[Claim] = deque()
        self._ended: list[Ended] = []
        self._running: tuple[Claim, TaskContext] | None = None
        self._held: list[Claim] = []  # claimed, but paused before they began
        self._sent_at = self._checked_at = 0.0  # monotonic: before the claim was sent; when it was last known good
        self._usual_seconds: float | None = None  # what a task takes, as seen so far
        self._told_at = 0.0
        self._pid = os.getpid()
        self._names = claims.Names()
        self._passed = Passed()

    def exchange(self) -> bool:
        """Record what ended, give back what was held and claim the next batch, in one transaction.

        While the database is away, what ended is kept and tried again for as long as its lease may last.
        """
        until = time.monotonic() + settings.lease_seconds
        while True:
            try:
                return self._exchange()
            except (OperationalError, InterfaceError) as error:
                if not self._ended or time.monotonic() > until:
                    raise
                log.warning("the database does not answer", error=str(error))
                time.sleep(_AGAIN_SECONDS)
            except (DBAPIError, ValueError) as error:
                if not self._ended:
                    raise
                log.warning("the database refused how a task ended", error=str(error))
                self._record_one_by_one()

    def _exchange(self) -> bool:
        with self._lock:
            self._held, self._unbegun = [*self._held, *self._unbegun], deque()
            passed, self._passed = Passed() if self._held else self._passed, Passed()  # kept if all is committed
            if passed.is_short:
                with transaction(read_only=True) as session:
                    picks.look_ahead(session, self.business_id, self.name, passed)
            room, self._sent_at = self._room(), time.monotonic()
            with transaction(claims=True, durable=bool(self._ended)) as session:
                judge.let_claims_pass(session, self.business_id)
                records.record(session, self._ended, settings.worker)
                claims.give_back(session, self._held)
                taken = room and claims.take(
                    session,
                    self.business_id,
                    self.name,
                    limit=room,
                    worker=settings.worker,
                    lease_seconds=settings.lease_seconds,
                    names=self._names,
                    passed=passed,
                )
                if taken:
                    self._offer_places(session, taken.types())
                elif self.claimed:
                    limits.wake_others(session, self.business_id, self.name)
                # No pause can commit before this transaction ends, so the claim's time counts from its last line.
                self._checked_at = time.monotonic()
            self._written(taken.claims() if taken else (), passed)
            self.claimed += len(self._unbegun)
            return bool(taken)

    def _offer_places(self, session: Session, goes_on_with: set[str]) -> None:
        """A type of which this turn holds no task any more may have been at its limit."""
        left = {one.claim.task_type for one in self._ended} - goes_on_with
        limits.offer_places(session, self.business_id, self.name, left)

    def _record_one_by_one(self) -> None:
        """Find the end that the database refuses; write that its task failed, instead."""
        with self._lock:
            while self._ended:
                one = self._ended[0]
                reason = "How it ended could not be stored."
                refused = replace(one, outcome=attempts.Outcome(State.FAILED, "failed", error=reason), news=None)
                if not self._record(one) and not self._record(refused):
                    log.error("an end is left to the lease", task=one.claim.id)
                self._ended.pop(0)
            self._board.forget_ended()

    def _record(self, one: Ended) -> bool:
        try:
            with transaction(claims=True) as session:
                records.record(session, [one], settings.worker)
        except (OperationalError, InterfaceError):
            raise  # the database is away: all is tried again
        except (DBAPIError, ValueError):
            return False
        return True

    def _written(self, found: Sequence[Claim], passed: Passed) -> None:
        """What was in hand is in the database; this is claimed now, and this was passed over for it."""
        self._ended, self._held, self._unbegun, self._passed = [], [], deque(found), passed
        self._board.forget_ended()

    def work(self) -> None:
        """Batch after batch, until the slice is over or nothing is ready."""
        while True:
            while begun := self.next():
                self.perform(*begun)
            if not self.exchange():
                return
            self.call_for_help()

    def next(self) -> tuple[Claim, TaskContext, Call] | None:
        """The next task to begin; None when the claims are used up, given back by `keep`, or cannot be trusted."""
        with self._lock:
            while self._unbegun and self._goes_on():
                claim = self._unbegun[0]
                call = self._prepared(claim)
                if self._is_stale():
                    self._check_again()
                if self._unbegun and self._unbegun[0] is claim:
                    self._unbegun.popleft()
                    context = TaskContext(claim.id, claim.attempt, claim.business, claim.user)
                    self._running = claim, context
                    self._told_at = self._sent_at
                    return claim, context, call
            return None

    def perform(self, claim: Claim, context: TaskContext, call: Call) -> None:
        """Run one handler and keep its outcome in hand."""
        began = self._show(claim)
        outcome = attempts.perform(claim, context, call)
        with self._lock:
            ended, self._running = time.monotonic(), None
            # Only how long is by our clock: the time of the claim itself is the database's, and known since then.
            times = began - claim.monotonic, ended - claim.monotonic
            end = Ended(claim, outcome, *times, self._pid, context.news())
            self._ended.append(end)
            has_room = self._board.end(end)
            if self._board.ordered() or not has_room:
                self._ends_at = 0.0  # what a stopped handler left running ends with the turn
            took, usual = ended - began, self._usual_seconds
            self._usual_seconds = took if usual is None else 0.8 * usual + 0.2 * took

    def _prepared(self, claim: Claim) -> Call:
        """The call of its handler. Its author's code reads the payload and may hang or kill: the parent sees it."""
        self._show(claim)
        call = attempts.prepare(claim)
        self._board.idle()
        return call

    def _show(self, claim: Claim) -> float:
        """Tell the parent what runs from now on, and until when it may; answer now."""
        now, timeout = time.monotonic(), claim.timeout_seconds or task_types.get(claim.task_type).timeout
        self._board.begin(claim.id, claim.attempt, self._sent_at, now + timeout if timeout else 0.0)
        return now

    def call_for_help(self) -> None:
        """Once in a turn, when it goes on for longer than a moment: whether there is work for others, too."""
        with self._lock:
            if time.monotonic() < self._calls_at:
                return
            self._calls_at = math.inf
        self.call_for_more()

    def call_for_more(self, *, is_last: bool = False) -> None:
        """Queue another turn if more is ready, for an idle worker to join at once or to go on.

        What this turn has passed is looked at again only if nothing else is ready as it ends: one of those may have
        been locked by somebody who let it go again.

        It locks nothing: it may have to pass over all that a new pause holds, and writers on SQLite would wait for it.
        """
        with self._lock:
            passed = replace(self._passed, places={**self._passed.places})
        try:
            with transaction(read_only=True) as session:
                more = claims.any_ready(session, self.business_id, self.name, passed)
                more = more or (is_last and claims.any_ready(session, self.business_id, self.name))
        except SQLAlchemyError as error:
            log.warning("the database does not answer", error=str(error))
            return
        if more:
            queue.quietly(queue.wake_now, self.business_id, self.name)

    def keep(self) -> None:
        """While a handler runs long, call for help and let nothing wait behind it.

        Between quick tasks the turn calls by itself: a look beside it takes a second connection, and its memory.
        """
        if not self.over.wait(_ALONE_SECONDS) and self._usual_seconds is None:
            self.call_for_help()
        while not self.over.wait(_TICK_SECONDS):
            self.call_for_help()
            with self._lock:
                if self._running is None:
                    continue
                try:
                    self._look_after(*self._running)
                except Exception as error:  # noqa: BLE001 - without this thread nothing would be heard of the task
                    log.warning("not written yet", task=self._running[0].id, error=str(error))

    def _look_after(self, claim: Claim, context: TaskContext) -> None:
        now = time.monotonic()
        news = context.news() if now - self._told_at >= _NEWS_SECONDS else None
        if news:
            try:
                with transaction(claims=True, durable=False) as session:
                    records.tell(session, [(claim, news)])
            except BaseException:
                context.unsay(news)
                raise
            self._told_at = now
        if self._is_stale() and (self._unbegun or self._ended or self._held):
            self._let_go(claim)

    def _let_go(self, running: Claim) -> None:
        """Write the finished and give back the unbegun, which another worker may take now."""
        with transaction(claims=True) as session:
            records.record(session, self._ended, settings.worker)
            claims.give_back(session, [*self._unbegun, *self._held])
            self._offer_places(session, {running.task_type})
        if self._unbegun:
            queue.quietly(queue.wake_now, self.business_id, self.name)
        self._written((), Passed())

    def _goes_on(self) -> bool:
        return bool(self._ends_at) and not _is_stopping.is_set()

    def _is_stale(self) -> bool:
        return time.monotonic() - self._checked_at >= judge.CLAIM_VALID_SECONDS

    def _check_again(self) -> None:
        """Ask once more whether the claimed may start; what may not goes back with the next exchange."""
        good = self._still_good()
        self._held += [one for one in self._unbegun if one.id not in good]
        self._unbegun = deque(one for one in self._unbegun if one.id in good)

    def _still_good(self) -> set[int]:
        """The claims that are good at this moment; none when the database takes too long to say so."""
        for _ in range(_CHECKS):
            try:
                with transaction(claims=True) as session:
                    judge.let_claims_pass(session, self.business_id)
                    good = claims.still_good(session, self.business_id, self._unbegun)
                    self._checked_at = time.monotonic()
            except (OperationalError, InterfaceError) as error:
                log.warning("the database does not answer", error=str(error))
                return set()
            if not self._is_stale():
                return good
        log.error("the database answers too slowly to begin tasks under a pause's promise", queue=self.name)
        self._ends_at = 0.0
        return set()

    def _room(self) -> int:
        """How many tasks to claim: one at first, then what takes half of the time that a claim is valid."""
        if time.monotonic() >= self._ends_at or not self._goes_on():
            return 0
        if self._usual_seconds is None:
            return 1
        return max(1, min(MAX_BATCH, int(judge.CLAIM_VALID_SECONDS / 2 / max(self._usual_seconds, 1e-6))))
