"""The scheduler process, `python -m jobs.scheduler`: rq-scheduler's clock with a leader, and the beat.

Any number may run: one leads, and another takes over when it disappears. An entry in rq-scheduler's sorted set is the
id of a schedule at its next due time, and nothing else. It may be lost, doubled or wrong: SQL says what is due.
"""

from __future__ import annotations

import re
import secrets
import signal
import sys
import threading
import time
from datetime import datetime
from types import FrameType

import structlog
from redis import Redis, RedisError
from rq_scheduler import Scheduler
from sqlalchemy import exc

import logs
from config import BadSetting, Config
from jobs import demo, firings, queue, task_types
from jobs.beat import Beat
from tenants.database import connect, transaction

log = structlog.get_logger()

_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


_AHEAD_SECONDS = 60.0  # entries of schedules that are due within this are made again if they are lost
_FIRE_SECONDS = 1.0  # of one beat: the repairs must not wait for ten thousand schedules that are due at midnight
_MAX_UNREADABLE = 1000
_ENTRY = re.compile(rb"schedule-([1-9][0-9]{0,8})")
_AWAY = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)  # the database's fault, not the schedule's


class BeatingScheduler(Scheduler):
    """rq-scheduler with a lock that has an owner, a loop that survives, and entries that can run nothing.

    The stock loop ends after 12 s without Redis or at one unreadable entry, its lock belongs to nobody, and an entry
    names a job that is executed, whoever wrote it.
    """

    scheduler_lock_key = "sluice:scheduler:lock"
    unreadable_key = "sluice:scheduler:unreadable"
    job_class = queue.Turn

    def __init__(self, connection: Redis, beat: Beat, beat_seconds: float) -> None:
        super().__init__(connection=connection, interval=beat_seconds, name=secrets.token_hex(8))
        self._beat = beat
        self._lock_milliseconds = int(3000 * max(beat_seconds, 1.0))
        self._over = threading.Event()
        self._behind = False

    def acquire_lock(self) -> bool:
        """Take the lead, or keep it; whether we lead."""
        kept = self.connection.eval(_RENEW, 1, self.scheduler_lock_key, self.name, self._lock_milliseconds)
        self._lock_acquired = bool(kept) or bool(
            self.connection.set(self.scheduler_lock_key, self.name, px=self._lock_milliseconds, nx=True)
        )
        return self._lock_acquired

    def remove_lock(self) -> None:
        """Give up the lead, if it is ours."""
        if self._lock_acquired:
            self.connection.eval(_RELEASE, 1, self.scheduler_lock_key, self.name)
            self._lock_acquired = False

    def run(self, burst: bool = False) -> None:
        """Beat until stopped; once only with `burst`."""
        while not self._over.is_set():
            began = time.monotonic()
            try:
                if self.acquire_lock():
                    self.enqueue_jobs()
                    self._beat(self.acquire_lock)
            except RedisError as error:  # also the way out of a frozen or restarting server: next beat
                log.warning("Redis does not answer", error=str(error))
            if burst:
                return
            self._over.wait(0.0 if self._behind else max(0.0, self._interval - (time.monotonic() - began)))

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End after this beat, and let another one lead at once."""
        self._over.set()

    def enqueue_jobs(self) -> list[int]:
        """Fire the schedules that are due, each in its own transaction, for a second at most; answer their ids.

        The library's name for it. What fails here is tried again at the next beat.
        """
        self._behind, fired, ends_at = False, [], time.monotonic() + _FIRE_SECONDS
        try:
            for member in self._due(self._arm()):
                if self._over.is_set() or not self.acquire_lock():
                    break
                if time.monotonic() > ends_at:
                    self._behind = True
                    break
                fired += self._fire(member)
        except Exception as error:  # noqa: BLE001 - the beat goes on, whatever lies in Redis or SQL
            log.warning("schedules have to wait", error=str(error))
        return fired

    def _arm(self) -> datetime:
        """Make the entries that should be there, and answer the database's time."""
        with transaction(read_only=True) as session:
            now, soon = firings.due_soon(session, _AHEAD_SECONDS)
        key = self.scheduled_jobs_key
        if self.connection.type(key) not in (b"zset", b"none"):
            log.warning("not a sorted set", key=key)
            self.connection.delete(key)
        if soon:
            self.connection.zadd(key, {f"schedule-{id_}": at.timestamp() for id_, at in soon.items()})
        return now

    def _due(self, now: datetime) -> list[bytes]:
        """The entries whose time has come, the longest overdue first."""
        return self.connection.zrange(self.scheduled_jobs_key, "-inf", now.timestamp(), byscore=True)  # type: ignore[no-any-return]

    def _fire(self, member: bytes) -> list[int]:
        """Fire one entry; after the commit arm it for the next due time, or remove it. Its id, if that was done."""
        named = _ENTRY.fullmatch(member)
        if not named:
            self._lay_aside(member)
            return []
        schedule_id = int(named[1])
        try:
            next_at = _fire_or_set_aside(schedule_id)
        except exc.SQLAlchemyError as error:
            log.warning("a schedule has to wait", schedule=schedule_id, error=str(error))
            return []
        if next_at is None:
            self.connection.zrem(self.scheduled_jobs_key, member)
        else:
            self.connection.zadd(self.scheduled_jobs_key, {member: next_at.timestamp()})
        return [schedule_id]

    def _lay_aside(self, member: bytes) -> None:
        """Keep an entry that is not ours where somebody may look at it. Nothing here loads or runs it."""
        log.warning("an entry of the scheduler is unreadable", entry=repr(member[:100]))
        with self.connection.pipeline() as together:
            together.zadd(self.unreadable_key, {member: time.time()})
            together.zremrangebyrank(self.unreadable_key, 0, -_MAX_UNREADABLE - 1)
            together.zrem(self.scheduled_jobs_key, member)
            together.execute()


def _fire_or_set_aside(schedule_id: int) -> datetime | None:
    """Fire a schedule in a transaction that lets people's go first; one that cannot be read shows its error."""
    try:
        with transaction(claims=True) as session:
            return firings.fire(session, schedule_id)
    except _AWAY:
        raise
    except Exception as error:  # noqa: BLE001 - whatever lies in its row, it stops no other
        log.warning("a schedule cannot be read", schedule=schedule_id, error=str(error))
        with transaction(claims=True) as session:
            return firings.set_aside(session, schedule_id, f"{type(error).__name__}: {error}")


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    logs.configure()
    try:
        config = Config.from_env()
        connection = queue.connect(config.redis_url)
        task_types.load(config.task_modules)
    except (BadSetting, queue.NoRedis, task_types.BadTaskModule) as error:
        sys.stderr.write(f"scheduler: {error}\n")
        return 1
    connect(config.database_url)
    also = [demo.Trickle()] if config.demo else []
    scheduler = BeatingScheduler(connection, Beat(also, retention_days=config.retention_days), config.beat_seconds)
    signal.signal(signal.SIGTERM, scheduler.stop)
    signal.signal(signal.SIGINT, scheduler.stop)
    scheduler.run()
    try:
        queue.flush()
        scheduler.remove_lock()
    except RedisError as error:
        log.warning("the lead ends by itself", error=str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
