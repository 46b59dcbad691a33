"""The scheduler process, `python -m jobs.scheduler`: rq-scheduler's clock with a leader, and the beat.

Any number may run: one leads, and another takes over when it disappears.
"""

from __future__ import annotations

import secrets
import signal
import sys
import threading
import time
from types import FrameType

import structlog
from redis import Redis, RedisError
from rq_scheduler import Scheduler

import logs
from config import BadSetting, Config
from jobs import demo, queue, task_types
from jobs.beat import Beat
from tenants.database import connect

log = structlog.get_logger()

_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class BeatingScheduler(Scheduler):
    """rq-scheduler with a lock that has an owner, and a loop that survives Redis and the database being away.

    The stock loop ends after 12 s without Redis or at one unreadable entry, and its lock belongs to nobody.
    """

    scheduler_lock_key = "sluice:scheduler:lock"
    job_class = queue.Turn

    def __init__(self, connection: Redis, beat: Beat, beat_seconds: float) -> None:
        super().__init__(connection=connection, interval=beat_seconds, name=secrets.token_hex(8))
        self._beat = beat
        self._lock_milliseconds = int(3000 * max(beat_seconds, 1.0))
        self._over = threading.Event()

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
                    self._beat()
            except RedisError as error:  # also the way out of a frozen or restarting server: next beat
                log.warning("Redis does not answer", error=str(error))
            if burst:
                return
            self._over.wait(max(0.0, self._interval - (time.monotonic() - began)))

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End after this beat, and let another one lead at once."""
        self._over.set()


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
    scheduler = BeatingScheduler(connection, Beat(also), config.beat_seconds)
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
