"""Running a task at once, in the caller's own process, with the same record as any other. Never in a web request."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import InterfaceError, OperationalError

from config import Config
from jobs import attempts, checks, claims, judge, queue, records, submitting
from jobs.attempts import Call, Claim
from jobs.context import TaskContext
from jobs.models import Attempt, Task
from jobs.records import Ended
from jobs.states import State
from tenants.database import table, transaction
from tenants.errors import Conflict

log = structlog.get_logger()

_tasks, _attempts = table(Task), table(Attempt)

_NEWS_SECONDS = 0.5
_AGAIN_SECONDS = 0.2


class Held(Conflict):
    """This task may not start now: a pause or a limit holds it."""


@dataclass(frozen=True)
class Inline:
    """What became of a task that ran in the caller. Pending: it asked for a retry, which the workers make."""

    id: int
    state: State
    result: Any = None
    error: str | None = None


def run_inline(
    task_type: str,
    *,
    business: str,
    user: str | None = None,
    payload: dict[str, Any] | None = None,
    title: str | None = None,
    priority: int = 0,
    timeout: float | None = None,
    unique_key: str | None = None,
    unique_for: float | timedelta | None = None,
    ref: str | None = None,
) -> Inline:
    """Run a task here and now, and answer when it has ended.

    Its arguments and errors are those of `submit`; Held when a pause or a limit keeps it from starting. After an error
    there is no row. It has transactions of its own: commit before you call it. It is as slow as its handler, so never
    call it while a request waits. Nobody outside the caller can stop the handler: an interrupt makes it Canceled when
    it has ended, and a timeout counts for the attempts that workers make.
    """
    new = checks.New(
        task_type,
        business,
        user,
        {} if payload is None else payload,
        title,
        priority,
        timeout=timeout,
        unique_key=unique_key,
        unique_for=unique_for,
        ref=ref,
    )
    here = _Here(Config.from_env())
    claim, name = here.claim(new)
    with here.withdrawing(claim):
        call = attempts.prepare(claim)
        here.make_sure(claim)
    return here.run(claim, name, call)


class _Here:
    """This process while it runs one task as a worker would."""

    def __init__(self, config: Config) -> None:
        self.config = config
        # A name of its own, since a heartbeat is for all that a worker's process has claimed.
        self.worker = f"inline-{secrets.token_hex(4)}-{socket.gethostname()}"[:100]
        self._checked_at = 0.0  # monotonic: when the claim was last known good
        self._stopped: KeyboardInterrupt | None = None

    def claim(self, new: checks.New) -> tuple[Claim, str]:
        """Add the task and start it in one transaction; answer the claim and the task's queue."""
        with transaction() as session:
            task = submitting.add(session, new)
            judge.let_claims_pass(session, task.business_id)
            claimed = claims.claim(
                session,
                task.business_id,
                task.queue,
                limit=1,
                worker=self.worker,
                lease_seconds=self.config.lease_seconds,
                only=task.id,
            )
            if not claimed:
                raise Held
            self._checked_at = time.monotonic()
        return claimed[0], task.queue

    @contextlib.contextmanager
    def withdrawing(self, claim: Claim) -> Iterator[None]:
        """An error in this block leaves no row, and so does Ctrl-C: else workers would run the task later."""
        try:
            yield
        except BaseException:
            self._withdraw(claim)
            raise

    def make_sure(self, claim: Claim) -> None:
        """Held when the claim grew old on its way here and a pause has answered meanwhile."""
        until = time.monotonic() + self.config.lease_seconds / 2
        while time.monotonic() - self._checked_at >= judge.CLAIM_VALID_SECONDS:
            with transaction() as session:
                judge.let_claims_pass(session, claim.business_id)
                good = claims.still_good(session, claim.business_id, [claim])
                self._checked_at = time.monotonic()
            if not good:
                raise Held
            if time.monotonic() > until:
                raise Held("The database answers too slowly to tell whether a pause holds this task.")

    def run(self, claim: Claim, name: str, call: Call) -> Inline:
        """The attempt, with no transaction open, and its record. Ctrl-C ends the task first and then the caller."""

        def stoppable(task: TaskContext) -> Any:
            try:
                return call(task)
            except KeyboardInterrupt as error:
                self._stopped = error
                raise

        context = TaskContext(claim.id, claim.attempt, claim.business, claim.user)
        with self._kept(claim, context):
            began = time.monotonic()
            outcome = attempts.perform(claim, context, stoppable)
            ended = time.monotonic()
        times = began - claim.monotonic, ended - claim.monotonic
        end = Ended(claim, outcome, *times, os.getpid(), context.news())
        answer = self._record(end, name)
        if self._stopped:
            raise self._stopped
        return answer

    @contextlib.contextmanager
    def _kept(self, claim: Claim, context: TaskContext) -> Iterator[None]:
        """In this block a thread renews the lease and writes what the handler says."""
        over = threading.Event()
        beside = threading.Thread(target=self._keep, args=(claim, context, over), name="inline keeper", daemon=True)
        beside.start()
        try:
            yield
        finally:
            over.set()
            beside.join()

    def _keep(self, claim: Claim, context: TaskContext, over: threading.Event) -> None:
        beaten_at, heartbeat = claim.monotonic, self.config.heartbeat_seconds
        while not over.wait(min(_NEWS_SECONDS, heartbeat)):
            now, news = time.monotonic(), context.news()
            beat = now - beaten_at >= heartbeat
            if not (news or beat):
                continue
            try:
                with transaction(claims=True) as session:
                    if news:
                        records.tell(session, [(claim, news)])
                    claims.renew(session, self.worker, os.getpid(), self.config.lease_seconds)
                beaten_at = now
            except Exception as error:  # noqa: BLE001 - without this thread the lease would run out
                if news:
                    context.unsay(news)
                log.warning("not written yet", task=claim.id, error=str(error))

    def _record(self, ended: Ended, name: str) -> Inline:
        """Write how it ended; while the database is away, try for as long as the lease may last."""
        until = time.monotonic() + self.config.lease_seconds
        while True:
            try:
                return self._write(ended, name)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > until:
                    raise
                log.warning("the database does not answer", error=str(error))
                time.sleep(_AGAIN_SECONDS)

    def _write(self, ended: Ended, name: str) -> Inline:
        claim = ended.claim
        with transaction(claims=True) as session:
            records.record(session, [ended], self.worker)
            state = session.scalar(select(_tasks.c.state).where(_tasks.c.id == claim.id))
            mine = _attempts.c.task_id == claim.id, _attempts.c.number == claim.attempt
            written = session.execute(select(_attempts.c.result, _attempts.c.error).where(*mine)).one_or_none()
            if state == State.PENDING:
                queue.wake(session, claim.business_id, name)
        if state is None or written is None:  # it was taken away, and somebody deleted it
            return Inline(claim.id, State.CANCELED, error="The task was deleted.")
        return Inline(claim.id, State(state), written.result, written.error)

    def _withdraw(self, claim: Claim) -> None:
        """Leave no row; one that was interrupted meanwhile is Canceled."""
        with transaction() as session:
            records.cancel(session, records.held(claim.token, [claim.id]))
            session.execute(delete(_tasks).where(_tasks.c.id == claim.id, _tasks.c.claim_token == claim.token))
