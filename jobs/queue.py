"""The door to Redis: one queued turn for each business and queue, and nothing else.

What Redis holds may vanish or be doubled: a turn that finds nothing is a no-op, and the beat makes a missing one again.
"""

from __future__ import annotations

import atexit
import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.command import send_command
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from sqlalchemy.orm import Session

from tenants.database import on_commit

log = structlog.get_logger()

Unreachable = RedisError  # what a call of Redis here may raise
RUN = "jobs.turns.run"
LOOK = "look"  # our own command on the channel that RQ's workers listen to
_MARK_SECONDS = 3600  # only a limit on litter: the beat tells a lost turn by looking for it in the queue
_TOGETHER = 500  # turns pushed in one round trip
_PAUSE_SECONDS = 0.005  # between wakes: whoever submits one task after the other asks for the same one each time
_MOST_ID = 2**31 - 1  # a database refuses more, so that the turn would fail and be queued anew for ever
_WAKE = """
if not redis.call('set', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('hset', KEYS[2], unpack(ARGV, 4))
redis.call('sadd', KEYS[4], KEYS[3])
return redis.call('rpush', KEYS[3], ARGV[3])
"""
_GIVE_UP = """
local mark = redis.call('get', KEYS[1])
if mark == ARGV[1] then redis.call('del', KEYS[1]) end
return not mark or mark == ARGV[1]
"""

_redis: Redis | None = None


class NoRedis(Exception):
    """REDIS_URL is not set: `make run` starts a Valkey of its own, each other process must be told where Redis is."""

    def __str__(self) -> str:
        return str(type(self).__doc__)


class ForeignJob(Exception):
    """A job in Redis that is not a turn of ours. It is refused: whoever reaches Redis must not run code."""


class Turn(Job):
    """The only kind of job: a call of `jobs.turns.run` with a business's id, a queue's name and a ticket."""

    @property
    def about(self) -> tuple[int, str, str]:
        """Its business, queue and ticket; ForeignJob if it is anything but a turn."""
        match self.func_name, self.instance, tuple(self.args), dict(self.kwargs):
            case "jobs.turns.run", None, (int() as business_id, str() as name, str() as ticket), {}:
                if 0 < business_id <= _MOST_ID:
                    return business_id, name, ticket
        raise ForeignJob(f"job {self.id} is not a turn")

    @property
    def func(self) -> Callable[..., Any]:
        """`turns.run`, whatever the job says."""
        from jobs import turns

        _ = self.about  # refuses what is not a turn
        return turns.run

    def execute_success_callback(self, *_: Any, **__: Any) -> None:
        """A turn has no callbacks, whatever the job says."""

    execute_failure_callback = execute_stopped_callback = send_webhooks = execute_success_callback


def connect(url: str | None) -> Redis:
    """Connect this process. Its commands take a second at most and are not repeated: a wake is never worth more."""
    global _redis  # noqa: PLW0603 - one connection pool a process
    if not url:
        raise NoRedis
    _redis = Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0))
    return _redis


def connection() -> Redis:
    """This process's connection; NoRedis before `connect`."""
    if _redis is None:
        raise NoRedis
    return _redis


def wake(session: Session, business_id: int, name: str) -> None:
    """After the session's commit, make sure that a turn of this business is queued. Never fails the caller."""
    on_commit(session, ("wake", business_id, name), lambda: _waker.post(wake_now, business_id, name))


def wake_soon(business_id: int, name: str) -> None:
    """The same after a commit without a session. Never fails the caller either: what is committed is committed."""
    try:
        _waker.post(wake_now, business_id, name)
    except RuntimeError:  # no more threads
        log.exception("nobody was woken")


def wake_now(business_id: int, name: str) -> bool:
    """Queue a turn unless one is queued already; whether it did. Raises RedisError.

    All or nothing: a process that dies in the middle of it leaves no mark without a turn. A look before it is
    cheaper than a turn that is made for nothing, as it mostly is while many tasks are submitted.
    """
    if connection().exists(_mark(business_id, name)):
        return False
    return bool(_push(connection(), business_id, name))


def wake_each(pairs: Sequence[tuple[int, str]]) -> None:
    """The same for many, in few round trips."""
    for first in range(0, len(pairs), _TOGETHER):
        some = pairs[first : first + _TOGETHER]
        with connection().pipeline(transaction=False) as together:
            for pair, mark in zip(some, _marks(some), strict=True):
                if mark is None:
                    _push(together, *pair)
            together.execute()


def _push(redis: Redis, business_id: int, name: str) -> Any:
    ticket, key = secrets.token_hex(8), Queue.redis_queue_namespace_prefix + name
    turn = Turn.create(
        RUN,
        args=(business_id, name, ticket),
        connection=connection(),
        timeout=-1,
        result_ttl=0,
        failure_ttl=60,
        description="turn",  # else the arguments go to Redis and logs in clear
        id=_job_id(ticket),
        origin=name,
        status=JobStatus.QUEUED,
        serializer=JSONSerializer,
    )
    fields = itertools.chain.from_iterable(turn.to_dict(include_meta=False).items())
    keys = [_mark(business_id, name), turn.key, key, Queue.redis_queues_keys]
    return redis.eval(_WAKE, len(keys), *keys, ticket, _MARK_SECONDS, turn.id, *fields)


def _marks(pairs: Sequence[tuple[int, str]]) -> list[Any]:
    return connection().mget([_mark(*pair) for pair in pairs])


def begin_turn(business_id: int, name: str, ticket: str) -> bool:
    """Give up the mark of this turn, so that the next one can be queued. A turn queued later keeps its own.

    False: such a one is queued, since this one's mark was lost. Then it must not work, or its business had two shares.
    """
    mark = _mark(business_id, name)
    return bool(connection().eval(_GIVE_UP, 1, mark, ticket.encode(errors="surrogateescape")))


def missing_tickets(pairs: Sequence[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """The tickets of turns that are marked as queued and yet are in no queue: lost, or just about to begin."""
    if not pairs:
        return {}
    marks = [mark if isinstance(mark, bytes) else None for mark in _marks(pairs)]
    queued = {name: _queued(name) for name in {name for _, name in pairs}}  # after the marks: what came since is there
    found = {}
    for pair, mark in zip(pairs, marks, strict=True):
        ticket = mark and mark.decode(errors="surrogateescape")  # whatever somebody put there, `begin_turn` must match
        if ticket and _job_id(ticket).encode(errors="surrogateescape") not in queued[pair[1]]:
            found[pair] = ticket
    return found


def missing_ticket(business_id: int, name: str) -> str | None:
    """The same for one."""
    return missing_tickets([(business_id, name)]).get((business_id, name))


def _queued(name: str) -> set[bytes]:
    return set(connection().lrange(Queue.redis_queue_namespace_prefix + name, 0, -1))  # type: ignore[arg-type]


def quietly(act: Callable[..., object], *args: object) -> object:
    """Call something here whose failure the beat repairs, and answer what it does; None if it fails."""
    try:
        return act(*args)
    except (Unreachable, NoRedis) as error:
        log.warning("Redis does not answer", error=str(error))
        return None


def knock(session: Session, worker: str) -> None:
    """After the session's commit, ask a worker to look at the row of its running task now. Else it does so in time."""
    on_commit(session, ("knock", worker), lambda: _waker.post(_knock_now, worker))


def _knock_now(worker: str) -> None:
    send_command(connection(), worker, LOOK)  # which task it is about stays in SQL


def turns_queued(name: str) -> int:
    """How many turns wait in a queue."""
    return int(connection().llen(Queue.redis_queue_namespace_prefix + name))


def flush(seconds: float = 1.0) -> None:
    """Wait until this process's wakes are sent, before it ends."""
    _waker.flush(seconds)


def _mark(business_id: int, name: str) -> str:
    return f"sluice:{business_id}:turn:{name}"


def _job_id(ticket: str) -> str:
    return f"turn-{ticket}"


class _Waker:
    """A thread that sends wakes, each once however often it was asked for, so that no request waits for Redis."""

    def __init__(self) -> None:
        self._asked: dict[tuple[Callable[..., object], tuple[object, ...]], None] = {}
        self._changed = threading.Condition()
        self._sending = False
        self._thread: threading.Thread | None = None

    def post(self, send: Callable[..., object], *about: object) -> None:
        with self._changed:
            self._asked[send, about] = None
            if self._thread is None:
                thread = threading.Thread(target=self._send_for_ever, name="waker", daemon=True)
                thread.start()
                self._thread = thread  # not before: the next post tries again
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._asked and not self._sending, timeout=seconds)

    def _send_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._asked))
                asked, self._asked, self._sending = self._asked, {}, True
            for send, about in asked:
                quietly(send, *about)
            with self._changed:
                self._sending = False
                self._changed.notify_all()
            time.sleep(_PAUSE_SECONDS)


def _new_waker() -> None:
    """A forked child inherits no thread."""
    global _waker  # noqa: PLW0603
    _waker = _Waker()


_waker = _Waker()
os.register_at_fork(after_in_child=_new_waker)
atexit.register(flush)  # a script that submits and ends at once must not take its wakes with it
