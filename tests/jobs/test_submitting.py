"""A task is a row: submitting is an INSERT in the caller's own transaction."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Cursor
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from jobs import queue, run_inline, submit, submit_many, task_types
from jobs.checks import BadKey, BadTimeout, NoZone
from jobs.models import Task
from jobs.payloads import BadPayload
from jobs.submitting import UnknownBusiness, UnknownUser
from tenants.clock import clock
from tenants.errors import Invalid
from tests import look
from tests.factories import Cast
from tests.waiting import until

BEN = "ben@example.com"
SHARED: dict[str, Any] = functools.reduce(lambda inner, _: {"a": inner, "b": inner}, range(60), {})


def count() -> int:
    return look.scalar(select(func.count()).select_from(Task)) or 0


def test_a_submitted_task_is_pending_and_ready(db: Session, cast: Cast) -> None:
    before = look.scalar(select(clock()))
    id_ = submit("test.note", business="acme", user=BEN, payload={"seconds": 1}, title="One", priority=7)
    task = look.task(id_)
    assert (task.state, task.user_id, task.queue, task.priority) == ("pending", cast.ben.user.id, "default", 7)
    assert (task.title, task.payload, task.attempts) == ("One", {"seconds": 1}, 0)
    assert before <= task.created_at <= look.scalar(select(clock())), "by the database's clock"


def test_it_joins_the_callers_transaction_and_a_rollback_leaves_nothing(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN, session=db)
    assert db.get(Task, id_)
    db.rollback()
    assert count() == 0
    queue.flush()
    assert queue.turns_queued("default") == 0


def test_it_works_with_redis_away(db: Session, cast: Cast) -> None:
    queue.connect("unix:///nowhere/r.sock")
    id_ = submit("test.note", business="acme", user=BEN)
    assert look.task(id_).state == "pending"


def test_it_answers_though_no_thread_can_be_had_that_wakes_and_the_next_one_wakes(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(queue, "_waker", queue._Waker())
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", no_thread)
        assert submit("test.note", business="acme")
        assert submit_many("test.note", [{}], business="acme")
    assert count() == 2
    submit("test.note", business="acme")
    queue.flush()
    assert queue.turns_queued("default") == 1


def test_a_commit_queues_one_turn_however_many_tasks_it_made_ready(db: Session, cast: Cast) -> None:
    for _ in range(5):
        submit("test.note", business="acme", user=BEN, session=db)
    queue.flush()
    assert queue.turns_queued("default") == 0, "never before the commit"
    db.commit()
    submit("test.note", business="acme")
    queue.flush()
    assert queue.turns_queued("default") == 1


def test_commits_in_quick_succession_share_their_wakes(
    db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[float] = []
    wake_now = queue.wake_now
    monkeypatch.setattr(queue, "wake_now", lambda *about: [sent.append(time.monotonic()), wake_now(*about)])
    for _ in range(20):
        submit("test.note", business="acme", user=BEN)
    queue.flush()
    assert queue.turns_queued("default") == 1
    assert sent, "the first wakes at once"
    assert all(later - earlier >= 0.005 for earlier, later in itertools.pairwise(sent))


def test_a_rolled_back_savepoint_forgets_no_wake_of_the_outer_transaction(db: Session, cast: Cast) -> None:
    submit("test.note", business="acme", user=BEN, session=db)
    with db.begin_nested() as savepoint:
        submit("test.note", business="acme", user=BEN, session=db)
        savepoint.rollback()
    with db.begin_nested():
        pass
    queue.flush()
    assert queue.turns_queued("default") == 0, "releasing a savepoint is no commit"
    db.commit()
    queue.flush()
    assert (count(), queue.turns_queued("default")) == (1, 1)


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        ({"task_type": "no.such"}, task_types.UnknownTaskType, "task_type"),
        ({"business": "nowhere"}, UnknownBusiness, "business"),
        ({"user": "nobody@example.com"}, UnknownUser, "user"),
        ({"user": "zoe@example.com"}, UnknownUser, "user"),
        ({"payload": {"second": 1}}, BadPayload, "payload"),
        ({"payload": {"seconds": "soon"}}, BadPayload, "payload"),
        ({"payload": [1]}, BadPayload, "payload"),
        ({"payload": {1: 2}}, BadPayload, "payload"),
        ({"payload": {"seconds": float("nan")}}, BadPayload, "payload"),
        ({"task_type": "test.fail", "payload": {"text": "\x00"}}, BadPayload, "payload"),
        ({"task_type": "test.fail", "payload": {"text": "\ud800"}}, BadPayload, "payload"),
        ({"task_type": "test.fail", "payload": {"text": "x" * 70_000}}, BadPayload, "payload"),
        ({"task_type": "test.odd", "payload": {}}, BadPayload, "payload"),
        (
            {"task_type": "test.any", "payload": {"value": functools.reduce(lambda a, _: [a], range(200))}},
            BadPayload,
            "payload",
        ),
        ({"task_type": "test.any", "payload": {"value": SHARED}}, BadPayload, "payload"),
        ({"task_type": "test.any", "payload": {"value": ["x" * 60_000] * 60_000}}, BadPayload, "payload"),
        ({"title": "x" * 201}, Invalid, "title"),
        ({"title": "NUL \x00"}, Invalid, "title"),
        ({"priority": 2**31}, Invalid, "priority"),
        ({"priority": "high"}, Invalid, "priority"),
        ({"priority": True}, Invalid, "priority"),
        ({"start_at": datetime(2030, 1, 1)}, NoZone, "start_at"),  # noqa: DTZ001 - this is the point
        ({"start_at": datetime(9999, 1, 1, tzinfo=UTC)}, Invalid, "start_at"),
        ({"start_at": "tomorrow"}, Invalid, "start_at"),
        ({"task_type": ["test.note"]}, task_types.UnknownTaskType, "task_type"),
        ({"business": None}, UnknownBusiness, "business"),
        ({"user": 7}, UnknownUser, "user"),
        ({"title": 7}, Invalid, "title"),
        *[({"timeout": one}, BadTimeout, "timeout") for one in (0, -1, math.nan, math.inf, True, "soon", 10**9)],
        *[({"unique_key": one}, BadKey, "unique_key") for one in ("", "x" * 201, "NUL \x00", "\ud800", 7)],
        *[({"unique_key": "k", "unique_for": one}, BadKey, "unique_for") for one in (0, -1, math.nan, "a day", 10**9)],
        ({"unique_key": "k", "unique_for": timedelta(days=-1)}, BadKey, "unique_for"),
        ({"unique_for": 60}, BadKey, "unique_for"),
    ],
)
@pytest.mark.parametrize("how", [submit, run_inline])
def test_bad_input_is_a_typed_error_and_no_row(
    cast: Cast, how: Callable[..., object], wrong: dict[str, Any], error: type[Invalid], field: str
) -> None:
    if how is run_inline and "start_at" in wrong:
        return  # it starts at once, and takes no such argument
    asked = {"task_type": "test.note", "business": "acme", "user": BEN, **wrong}
    with pytest.raises(error) as raised:
        how(asked.pop("task_type"), **asked)
    assert type(raised.value) is error
    assert raised.value.field == field
    assert raised.value.message
    assert count() == 0


def test_a_payload_with_many_mistakes_is_told_the_first_few(cast: Cast) -> None:
    with pytest.raises(BadPayload, match=r"arguments\.0: .*; and 19,995 more\.$") as raised:
        submit("script.execute", business="acme", payload={"script": "x", "arguments": [1] * 20_000})
    assert len(raised.value.message) < 500


def test_a_timeout_and_a_key_are_kept(db: Session, cast: Cast) -> None:
    before = look.scalar(select(clock(60)))
    id_ = submit("test.note", business="acme", timeout=2.5, unique_key="k" * 200, unique_for=timedelta(minutes=1))
    task = look.task(id_)
    assert (task.timeout_seconds, task.unique_key) == (2.5, "k" * 200)
    assert task.unique_until
    assert before <= task.unique_until <= look.scalar(select(clock(60)))
    plain = look.task(submit("test.open", business="acme"))
    assert (plain.timeout_seconds, task_types.get("test.open").timeout) == (None, 600)
    assert (plain.unique_key, plain.unique_until) == (None, None)


def test_an_archived_business_takes_no_tasks(db: Session, cast: Cast) -> None:
    cast.acme.archived_at = datetime.now(UTC)
    db.commit()
    with pytest.raises(UnknownBusiness):
        submit("test.note", business="acme", user=BEN)


def test_many_tasks_are_submitted_at_once_in_their_order(db: Session, cast: Cast, work: Callable[..., None]) -> None:
    payloads = [
        {"value": value} for value in (2**70, "\N{GREEK SMALL LETTER ALPHA}'\"\\", None, [1, {"a": 0.1}], 1e300)
    ]
    ids = submit_many(
        "test.any", payloads * 50, business="acme", user="ben@example.com", title="One of many", priority=7
    )
    rows = look.rows(select(Task.id, Task.payload, Task.user_id, Task.title, Task.priority).order_by(Task.id))
    about = (cast.ben.user.id, "One of many", 7)
    assert [tuple(row) for row in rows] == [
        (id_, payload, *about) for id_, payload in zip(ids, payloads * 50, strict=True)
    ]
    until(lambda: work() or look.scalar(select(func.count()).where(Task.state == "completed")) == 250)
    assert submit_many("test.any", [], business="acme") == []


def test_one_bad_payload_of_many_leaves_no_row(db: Session, cast: Cast) -> None:
    with pytest.raises(BadPayload):
        submit_many("test.note", [{}, {"seconds": "soon"}, {}], business="acme")
    with pytest.raises(UnknownUser):
        submit_many("test.note", [{}], business="acme", user="zoe@example.com")
    submit_many("test.note", [{}], business="acme", session=db)
    db.rollback()
    assert look.scalar(select(func.count()).select_from(Task)) == 0


def test_one_by_one_a_submit_is_one_statement_that_is_committed_when_it_answers(
    db: Session, engine: Engine, cast: Cast
) -> None:
    asked = listen(engine)
    for user in (BEN, None, "root@example.com"):
        submit("test.note", business="acme", user=user)
    submit_many("test.note", [{}] * 10, business="acme", user=BEN)
    assert asked == ["INSERT"] * 4
    assert count() == 13


def listen(engine: Engine) -> list[str]:
    """What this process's connection is told from now on; on PostgreSQL also `open` after what is not committed."""
    asked: list[str] = []
    with contextlib.closing(engine.raw_connection()) as lent:
        driver: Any = lent.driver_connection

    class Listening(Cursor):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            answer = super().execute(query, *args, **kwargs)
            is_open = self.connection.info.transaction_status != TransactionStatus.IDLE
            asked.extend([str(query).split(maxsplit=1)[0], *["open"] * is_open])
            return answer

    if engine.dialect.name == "postgresql":
        driver.cursor_factory = Listening
    else:
        driver.set_trace_callback(lambda statement: asked.append(statement.split(maxsplit=1)[0]))
    return asked
