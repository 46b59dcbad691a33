"""Fail-points without a line of product code: a process that loads this module fails where FAIL says.

`FAIL=claim:before:kill,record:after:raise` names points, moments and actions; TASK_MODULES names this module. Thin
wrappers only mark what a transaction does; the failure happens round the COMMIT itself, or round a step with Redis.
Each fires once in all processes together: its file in the folder LATCHES says when and in which.

Actions: `kill` and `freeze` this process, `raise` what a library would raise, `cut` the connection to PostgreSQL.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import ConnectionError as NoConnection
from rq import Worker
from sqlalchemy import event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Session

from jobs import attempts, claims, firings, leases, pauses, queue, records, settling, submitting
from tenants import direct
from tenants.database import bound

COMMITS = ("submit", "pause", "claim", "record", "give_back", "bury", "renew", "reap", "settle", "fire")
STEPS = ("wake:before", "wake:after", "pop:after", "turn:before")
BEGIN = "begin:before"
_DOING = "failpoints"
_committing = threading.local()
_wanted: dict[str, list[str]] = {}


@dataclass(frozen=True)
class Fired:
    """A point that failed: where, how, when by the monotonic clock, and in which process."""

    point: str
    action: str
    at: float
    pid: int


def points(action: str) -> list[str]:
    """`point:when:action` wherever the action makes sense. A library raises at COMMIT and in Redis, not at a begin."""
    found = [f"{name}:{when}" for name in COMMITS for when in ("before", "after")]
    found += [] if action == "cut" else STEPS
    found += [BEGIN] if action in ("kill", "freeze") else []
    return [f"{point}:{action}" for point in found]


def fired(folder: Path) -> list[Fired]:
    """What has failed so far."""
    found = []
    for path in sorted(folder.glob("[!.]*")):
        at, pid = path.read_text().split()
        found.append(Fired(path.name, path.name.rpartition(":")[2], float(at), int(pid)))
    return found


def install() -> None:
    """Wrap what the points are about."""
    for one in filter(None, os.environ.get("FAIL", "").split(",")):
        point, _, action = one.rpartition(":")
        _wanted.setdefault(point, []).append(action)
    if not _wanted:
        return
    _mark(submitting, "_submit", "submit")
    _wrap(direct, "_send", _directly)
    _mark(pauses, "pause", "pause")
    _mark(claims, "take", "claim")
    _mark(records, "record", "record", lambda _, ended, *__: any(one.claim.id for one in ended))
    _mark(claims, "give_back", "give_back", lambda _, unbegun: any(one.id for one in unbegun))
    _mark(claims, "renew", "renew")
    _mark(leases, "bury", "bury", lambda *_: True)
    _mark(leases, "reap", "reap")
    _mark(settling, "settle", "settle")
    _mark(firings, "_make_tasks", "fire")
    event.listen(Session, "before_commit", _carry)
    event.listen(Session, "after_soft_rollback", lambda session, _: session.info.pop(_DOING, None))
    _wrap(DefaultDialect, "do_commit", _commit)
    _wrap(queue, "wake_now", functools.partial(_step, "wake:before"))
    _wrap(queue, "wake_now", functools.partial(_after, "wake:after"))
    _wrap(queue, "begin_turn", functools.partial(_step, "turn:before"))
    _wrap(attempts, "perform", functools.partial(_step, BEGIN))
    _wrap(Worker, "dequeue_job_and_maintain_ttl", functools.partial(_after, "pop:after"))


def _mark(module: Any, name: str, what: str, did: Callable[..., bool] = lambda answer, *_: bool(answer)) -> None:
    """Mark the session when the function did something. Rows of nobody, for warming up, are nothing."""

    def marked(original: Callable[..., Any], session: Session, *args: Any, **kwargs: Any) -> Any:
        answer = original(session, *args, **kwargs)
        if did(answer, *args):
            session.info.setdefault(_DOING, []).append(what)
        return answer

    _wrap(module, name, marked)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, wrapped)


def _carry(session: Session) -> None:
    """What this transaction does, for the COMMIT that follows in this thread."""
    if not session.in_nested_transaction():
        _committing.doing = session.info.pop(_DOING, [])


def _commit(original: Callable[..., None], dialect: DefaultDialect, connection: Any) -> None:
    doing, _committing.doing = getattr(_committing, "doing", []), []
    for what in doing:
        if action := _due(f"{what}:before"):
            _fail(action, dialect, connection)
    original(dialect, connection)
    for what in doing:
        if action := _due(f"{what}:after"):
            _fail(action, dialect, connection)


def _directly(original: Callable[..., Any], lent: Any, *statement: Any) -> Any:
    """What the database commits by itself has no COMMIT around which it could fail: it fails around the statement."""
    if action := _due("submit:before"):
        _fail(action, bound().dialect, lent)
    rows = original(lent, *statement)
    if rows and (action := _due("submit:after")):
        _fail(action, bound().dialect, lent)
    return rows


def _fail(action: str, dialect: Any, connection: Any) -> None:
    _end_or_stop(action)
    if action == "cut":
        with socket.socket(fileno=os.dup(connection.dbapi_connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    if action in ("raise", "cut"):
        raise dialect.loaded_dbapi.OperationalError("a fail-point: the server closed the connection unexpectedly")


def _step(point: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if action := _due(point):
        _end_or_stop(action)
        if action == "raise":
            raise NoConnection("a fail-point")
    return original(*args, **kwargs)


def _after(point: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    answer = original(*args, **kwargs)
    return _step(point, lambda: answer) if answer else answer


def _end_or_stop(action: str) -> None:
    if action in ("kill", "freeze"):
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)


def _due(point: str) -> str | None:
    """The next action of this point that has fired nowhere yet."""
    left = _wanted.get(point, [])
    while left:
        if _latch(f"{point}:{left[0]}"):
            return left.pop(0)
        left.pop(0)
    return None


def _latch(name: str) -> bool:
    """Whether we are the first."""
    folder = Path(os.environ["LATCHES"])
    unseen = folder / f".{name}.{os.getpid()}"
    unseen.write_text(f"{time.monotonic()} {os.getpid()}")
    try:
        (folder / name).hardlink_to(unseen)  # whole, or not at all
    except FileExistsError:
        return False
    finally:
        unseen.unlink()
    return True


install()
