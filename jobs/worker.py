"""The worker process, `python -m jobs.worker [queue …]`: an RQ worker that takes turns. Start as many as wanted."""

from __future__ import annotations

import argparse
import gc
import os
import random
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import structlog
from redis import Redis, RedisError
from rq import Queue, Worker
from rq.command import parse_payload
from rq.exceptions import DeserializationError, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import utcformat
from rq.worker.base import DequeueStrategy, WorkerStatus
from rq.worker_registration import REDIS_WORKER_KEYS, register

import logs
from config import BadSetting, Config
from jobs import payloads, queue, rehearsal, task_types, turns
from jobs.guard import Guard
from jobs.horses import Horse
from jobs.pool import Pool
from processes import adopt_orphans, end_children
from tenants.database import connect

log = structlog.get_logger()

_HEAD_START_SECONDS = 0.01  # of a horse, before the fork of the next one takes a core from it
_TICK_SECONDS = 0.05
_REST_SECONDS = 0.05  # half of the first rest after a turn that failed
_MOST_REST_SECONDS = 5.0
_FORK_AGAIN_SECONDS = 0.5
_ONE_STOP_SECONDS = 1.0  # signals that are no further apart are one
_BEAT_SECONDS = 5.0  # between heartbeats: RQ asks for four in a turn, one of them between the pop and the turn
_WORKER_TTL_SECONDS = 30  # an idle worker's pop lasts so long less 15; RQ's own 405 s would delay its maintenance


class TurnWorker(Worker):
    """RQ's worker, of JSON turns only. RQ pops; our own horse, forked in advance, takes the turn under our guard."""

    max_connection_wait_time = 1.0  # else, after a long outage, it looks for Redis once a minute only

    def __init__(self, names: list[str], connection: Redis) -> None:
        super().__init__(
            [Queue(name, connection=connection, job_class=queue.Turn, serializer=JSONSerializer) for name in names],
            name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}".replace(".", "-"),
            connection=connection,
            job_class=queue.Turn,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_SECONDS,
            log_job_description=False,
        )
        self.stops, self._stopped_at = 0, 0.0
        self._spare: Horse | None = None
        self._failed = 0  # horses, one after the other, that died before they had begun anything
        self._knocked = threading.Event()
        self._beats_again_at = 0.0

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Take turns until told to stop, or until Redis is away at a moment at which RQ gives up."""
        self._spare = _fork()
        try:
            return super().work(*args, **kwargs)
        finally:
            if self._spare:
                self._spare.close()

    def execute_job(self, job: Job, from_queue: Queue) -> None:
        """Take one turn. What is not a turn is refused: whoever reaches Redis must not run code."""
        try:
            turn = job.about  # type: ignore[attr-defined]
        except (queue.ForeignJob, DeserializationError) as error:
            log.warning("a foreign job is refused", job=job.id, error=str(error))
            self._forget(job, from_queue)
        else:
            self._take(turn, lambda: self._forget(job, from_queue))

    def _forget(self, job: Job, from_queue: Queue) -> None:
        """Nothing of a popped turn stays in Redis: it is made again if it is lost."""
        with queue.connection().pipeline() as at_once:
            at_once.delete(job.key)
            at_once.lrem(from_queue.intermediate_queue_key, 1, job.id)
            at_once.hset(self.key, "state", self.get_state())
            at_once.sismember(REDIS_WORKER_KEYS, self.key)
            *_, is_known = at_once.execute()
        if not is_known:
            self._beats_again_at = 0.0  # Redis has forgotten us: the next heartbeat tells it again

    def _take(self, turn: tuple[int, str, str], then: Callable[[], None]) -> None:
        self._state = WorkerStatus.BUSY  # so that SIGTERM waits; the horse begins before Redis is told
        # But not before this: what is submitted from now on wakes another turn.
        is_double = queue.quietly(queue.begin_turn, *turn) is False
        horse = None if is_double else self._saddled(*turn)
        queue.quietly(then)
        if horse:
            self._ride(horse, turn)
        elif not is_double:
            queue.quietly(queue.wake_now, *turn[:2])  # another worker takes it
        self._state = WorkerStatus.IDLE

    def _ride(self, horse: Horse, turn: tuple[int, str, str]) -> None:
        """Look after the horse until its turn is over, and end what it left."""
        try:
            self._horse_pid = horse.pid
            horse.has_ended(_HEAD_START_SECONDS)
            self._spare = _fork()
            guard = Guard(horse, self.name, knocks=self._was_knocked, stops=lambda: self.stops, beat=self._beat)
            died = guard.watch()
            self._failed = self._failed + 1 if died and not horse.board.has_begun() else 0
            if died:
                self._rest(rest_seconds(self._failed))
                queue.quietly(queue.wake_now, *turn[:2])
        finally:
            self._horse_pid = 0
            horse.close()
            end_children(keep={self._spare.pid} if self._spare else ())

    def _saddled(self, business_id: int, name: str, ticket: str) -> Horse | None:
        """The spare, at work; a new one if there is none, or if somebody killed it while it waited.

        While none can be forked it tries again; None when told to stop meanwhile.
        """
        while True:
            horse, self._spare = self._spare or _fork(), None
            if horse is None:
                if self.stops:
                    return None
                self._rest(_FORK_AGAIN_SECONDS)
                continue
            try:
                horse.start(business_id, name, ticket, is_quiet=bool(self._failed))
            except BrokenPipeError:
                horse.close()
            else:
                return horse

    def _rest(self, seconds: float) -> None:
        """Wait, but not when told to stop."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and not self.stops:
            time.sleep(_TICK_SECONDS)

    def handle_payload(self, message: dict[str, Any]) -> None:
        """A command from Redis: RQ's own, or ours to look at the running task's row."""
        if parse_payload(message).get("command") == queue.LOOK:
            self._knocked.set()
        else:
            super().handle_payload(message)  # type: ignore[no-untyped-call]

    def request_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: the guard ends the turn; a second one ends its task at once. RQ's own would kill it.

        Those that come together are one: systemd and terminals tell all processes, and a pool passes it on to us, too.
        """
        now = time.monotonic()
        if self.stops and now - self._stopped_at < _ONE_STOP_SECONDS:
            return
        self.stops, self._stopped_at = self.stops + 1, now
        self._shutdown_requested_date = datetime.now(UTC)
        self._stop_requested = True
        if self.stops == 1 and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested  # out of the wait for a turn

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Tell Redis that we live, in one round trip and now and then; register again if it has forgotten us.

        Not over RQ's connection, which waits half a minute for an answer: the horse's lease would run out meanwhile.
        """
        if time.monotonic() < self._beats_again_at:
            return
        self._beats_again_at = time.monotonic() + _BEAT_SECONDS
        self.last_heartbeat = datetime.now(UTC)
        with queue.connection().pipeline() as at_once:
            at_once.hset(self.key, "last_heartbeat", utcformat(self.last_heartbeat))
            at_once.expire(self.key, timeout or self.worker_ttl + 60)
            at_once.sismember(REDIS_WORKER_KEYS, self.key)
            *_, is_known = at_once.execute()
        if not is_known and self.birth_date:
            self.connection.hset(self.key, mapping=self.serialize())
            register(self)

    def _beat(self) -> None:
        """The same while the horse works: Redis may be away then."""
        queue.quietly(self.heartbeat)

    def _was_knocked(self) -> bool:
        knocked = self._knocked.is_set()
        self._knocked.clear()
        return knocked


def _fork() -> Horse | None:
    """A horse, or None when no process can be forked now: a handler may have taken all that there may be."""
    try:
        return Horse()
    except OSError as error:
        log.warning("no horse can be forked", error=str(error))
        return None


def rest_seconds(failed: int) -> float:
    """How long to wait after so many horses that could not even claim: longer each time, and no two workers alike."""
    longest = min(_MOST_REST_SECONDS, _REST_SECONDS * 2 ** min(failed, 10)) if failed else 0.0
    return random.uniform(longest / 2, longest)  # noqa: S311 - only to spread them


def main() -> int:
    """Run until SIGTERM or SIGINT; the task at work may finish."""
    logs.configure()
    parser = argparse.ArgumentParser(prog="python -m jobs.worker", description=__doc__)
    parser.add_argument("queues", nargs="*", help="queues to work on; default: every queue of the registered types")
    parser.add_argument("--processes", type=int, default=1, help="so many workers, forked from this process")
    asked = parser.parse_args()
    try:
        config = Config.from_env()
        queue.connect(config.redis_url)
        task_types.load(config.task_modules)
        payloads.warm(task_types.all_types())
    except (BadSetting, queue.NoRedis, task_types.BadTaskModule) as error:
        sys.stderr.write(f"worker: {error}\n")
        return 1
    connect(config.database_url)
    rehearsal.rehearse()
    gc.collect()
    gc.freeze()  # else the collector runs over the parent's objects in every horse: 46 ms instead of 3
    names = asked.queues or task_types.queues()
    if asked.processes == 1:
        return _live(config, names)
    return Pool(asked.processes, lambda: _live(config, names)).run()


def _live(config: Config, names: list[str]) -> int:
    """A worker's whole life."""
    adopt_orphans()
    while not _work(config, names):
        time.sleep(1)  # a supervisor would only start us again, and import everything anew
    return 0


def _work(config: Config, names: list[str]) -> bool:
    """Take turns until told to stop; False when Redis was away at a moment at which RQ's worker gives up."""
    try:
        # Its own connection: RQ's blocking pops need a longer timeout than our wakes.
        worker = TurnWorker(names, Redis.from_url(str(config.redis_url)))
    except RedisError as error:
        log.warning("Redis does not answer", error=str(error))
        return False
    turns.settings = turns.Settings(
        worker=worker.name,
        slice_seconds=config.slice_seconds,
        lease_seconds=config.lease_seconds,
        heartbeat_seconds=config.heartbeat_seconds,
        grace_seconds=config.grace_seconds,
        stop_seconds=config.stop_seconds,
    )
    try:
        worker.work(logging_level="WARNING", dequeue_strategy=DequeueStrategy.ROUND_ROBIN)
    except RedisError as error:
        log.warning("Redis does not answer", error=str(error))
    if worker.stops:
        return True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # the handlers were that worker's
    return False


if __name__ == "__main__":
    sys.exit(main())
