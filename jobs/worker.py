"""The worker process, `python -m jobs.worker [queue …]`: an RQ worker that takes turns. Start as many as wanted."""

from __future__ import annotations

import argparse
import gc
import os
import secrets
import signal
import socket
import sys
import time

import structlog
from redis import Redis, RedisError
from rq import Queue, Worker
from rq.serializers import JSONSerializer
from rq.worker.base import DequeueStrategy

import logs
from config import BadSetting, Config
from jobs import payloads, queue, task_types, turns
from processes import die_with
from tenants.database import connect

log = structlog.get_logger()

_WORKER_TTL_SECONDS = 30  # an idle worker's pop lasts so long less 15; RQ's own 405 s would delay its maintenance


class TurnWorker(Worker):
    """RQ's worker, of JSON turns only, whose forked horse dies with its parent."""

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

    @property
    def was_told_to_stop(self) -> bool:
        """Whether SIGTERM or SIGINT ended its work."""
        return self._shutdown_requested_date is not None

    def setup_work_horse_signals(self) -> None:
        """The horse begins."""
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        die_with(self.pid or 0)


def main() -> int:
    """Run until SIGTERM or SIGINT; the task at work may finish."""
    logs.configure()
    parser = argparse.ArgumentParser(prog="python -m jobs.worker", description=__doc__)
    parser.add_argument("queues", nargs="*", help="queues to work on; default: every queue of the registered types")
    wanted = parser.parse_args().queues
    try:
        config = Config.from_env()
        queue.connect(config.redis_url)
        task_types.load(config.task_modules)
    except (BadSetting, queue.NoRedis, task_types.BadTaskModule) as error:
        sys.stderr.write(f"worker: {error}\n")
        return 1
    connect(config.database_url)
    payloads.warm(task_types.all_types())
    gc.collect()
    gc.freeze()  # else the collector runs over the parent's objects in every horse: 46 ms instead of 3
    while not _work(config, wanted or task_types.queues()):
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
    turns.settings = turns.Settings(worker.name, config.slice_seconds, config.lease_seconds, config.heartbeat_seconds)
    try:
        worker.work(logging_level="WARNING", dequeue_strategy=DequeueStrategy.ROUND_ROBIN)
    except RedisError as error:
        log.warning("Redis does not answer", error=str(error))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # the handlers were that worker's
    return worker.was_told_to_stop


if __name__ == "__main__":
    sys.exit(main())
