"""What answers and what does not: the parts of an installation as seen through Redis."""

from __future__ import annotations

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.worker_registration import REDIS_WORKER_KEYS

from jobs.scheduler import BeatingScheduler


def answers(url: str) -> bool:
    """Whether a Redis or Valkey answers there, within a second. One that still loads its data does not."""
    try:
        with Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as redis:
            return bool(redis.ping())
    except (RedisError, ValueError):
        return False


def workers_and_scheduler(url: str) -> tuple[set[str], bool]:
    """The names of the workers that registered, and whether a scheduler leads; none and no when Redis is away."""
    try:
        return _workers_and_scheduler(url)
    except RedisError:
        return set(), False


def queues_heard(redis: Redis) -> set[str] | None:
    """The queues that some worker listens to; None when nobody can tell, since Redis is away."""
    try:
        keys = list(redis.smembers(REDIS_WORKER_KEYS))
        with redis.pipeline(transaction=False) as at_once:
            for key in keys:
                at_once.hget(key, "queues")
            return {name for found in at_once.execute() if found for name in found.decode().split(",")}
    except RedisError:
        return None


def _workers_and_scheduler(url: str) -> tuple[set[str], bool]:
    with Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as redis:
        names = {key.decode().rpartition(":")[2] for key in redis.smembers(REDIS_WORKER_KEYS)}
        return names, bool(redis.exists(BeatingScheduler.scheduler_lock_key))
