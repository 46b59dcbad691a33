"""Secrets of payloads: searched for in every table, in Redis, on every page and in the process's own log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import queue, redaction, run_inline, submit, task_types, tasks, turns
from jobs.models import Attempt, Entry, Task
from jobs.payloads import BadPayload
from jobs.tasks import Changes
from tenants.database import Base, transaction
from tests import look
from tests.factories import Cast
from tests.waiting import until
from tests.webapp import routes, rows
from tests.webapp.client import Browser
from tests.webapp.test_editing import form_of

CANARY = "canary-7Q\"x'é\\z"
TRACE = "canary-7Q"  # what every way to write it has in common
PIN = 98_765_432
PAYLOAD = {"password": CANARY, "pin": PIN, "login": {"name": "ben", "deep": [{"password": ["abc", CANARY + "2"]}]}}
ALSO = (str(PIN), f"{PIN:,}")


@pytest.fixture(autouse=True)
def _types(app: Flask) -> Iterator[None]:
    task_types.load(("tests.task_types",))
    yield
    queue.flush()


def work(cast: Cast) -> None:
    """Take turns until nothing is unfinished."""
    unfinished = select(Task.id).where(Task.ended_at.is_(None))
    until(lambda: turns.run(cast.acme.id, "default", "here") or not look.scalars(unfinished))


def found_in_tables() -> set[str]:
    """Each column that has the canary or the number."""
    found = set()
    with transaction(read_only=True) as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(select(table)).mappings():
                found |= {f"{table.name}.{name}" for name, value in row.items() if leaks(str(value))}
    return found


def everything_in(redis: Redis) -> str:
    """All keys with their values, whatever they are."""
    read = {
        b"string": redis.get,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"hash": redis.hgetall,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    return str([(key, read[redis.type(key)](key)) for key in redis.scan_iter()])  # type: ignore[index]


def leaks(text: str) -> bool:
    return TRACE in text or any(one in text for one in ALSO)


def pages_about(app: Flask, cast: Cast, browser: Browser, id_: int) -> Iterator[tuple[str, str]]:
    """Every address of the portal that can be asked for, the task's own with its id."""
    for route in routes.every(app):
        if route.method == "GET":
            path = route.path(cast).split("?")[0]
            if "task_id" in route.rule.arguments:
                path = route.rule.rule.replace("<business>", "acme").replace("<int:task_id>", str(id_))
            yield path, browser.raw("GET", path).text


@pytest.mark.parametrize("how", ["return", "retry", "raise", "odd"])
@pytest.mark.parametrize("inline", [False, True])
def test_only_the_payload_of_the_task_keeps_a_secret(
    app: Flask, cast: Cast, as_user: Callable[..., Browser], valkey: str, capfd: Any, *, how: str, inline: bool
) -> None:
    asked: dict[str, Any] = {"business": "acme", "user": "ben@example.com", "payload": {**PAYLOAD, "how": how}}
    if inline:
        done = run_inline("test.secret", **asked)
        id_ = done.id
        assert not leaks(str(done))
    else:
        id_ = submit("test.secret", **asked)
    with Redis.from_url(valkey) as redis:
        assert not leaks(everything_in(redis))
        work(cast)
        queue.flush()
        assert not leaks(everything_in(redis))
    task = look.task(id_)
    assert task.state == ("failed" if how in ("raise", "odd") else "completed")
    assert task.payload["password"] == CANARY, "or there is nothing to look for"
    assert look.scalars(select(Entry.text).where(Entry.text.contains("said •••"))), "it did say it"
    assert found_in_tables() == {"tasks.payload"}
    assert redaction.MASK in str(look.rows(select(Attempt.result, Attempt.error, Attempt.traceback))) or how == "odd"
    for browser in (as_user("ada"), as_user("ben")):
        for path, text in pages_about(app, cast, browser, id_):
            assert not leaks(text), path
    written = "".join(capfd.readouterr())
    assert not leaks(written)


def test_a_page_shows_the_mask_and_everything_else(cast: Cast, ada: Browser, ben: Browser) -> None:
    id_ = submit("test.secret", business="acme", user="ben@example.com", payload=PAYLOAD)
    for browser in (ada, ben):
        page = browser.get(f"/b/acme/tasks/{id_}")
        assert "•••" in page.text
        assert '"name": "ben"' in page.text
        assert not leaks(page.text)
    form = form_of(ada.htmx(f"/b/acme/tasks/{id_}/edit"))
    assert not leaks(form["payload"])


def test_saving_the_mask_keeps_the_stored_value_and_typing_another_one_changes_it(cast: Cast, ada: Browser) -> None:
    id_ = submit("test.secret", business="acme", payload=PAYLOAD)
    shown = tasks.shown_payload(look.task(id_))
    assert shown == {"password": "•••", "pin": "•••", "login": {"name": "ben", "deep": [{"password": "•••"}]}}
    typed = {**shown, "how": "retry", "pin": 1234}
    ada.post(f"/b/acme/tasks/{id_}/edit", title="", priority="0", payload=json.dumps(typed))
    assert look.task(id_).payload == {**PAYLOAD, "how": "retry", "pin": 1234}
    assert found_in_tables() == {"tasks.payload"}
    (note,) = look.scalars(select(Entry.text))
    assert note == "Edited by Ada Lovelace: payload (how, pin)"


@pytest.mark.parametrize(
    "typed",
    [
        {"password": "x", "login": {"password": "•••"}},  # where none was stored
        {"password": "x", "login": [{"name": "cleo", "password": "•••"}]},  # the other person's
        {"password": "x", "login": [{"name": "ben", "password": "•••"}]},
        {"password": "x", "login": [{"name": "cleo", "password": "•••"}, {"name": "ben", "password": "•••"}]},
    ],
)
def test_a_mask_that_stands_for_nothing_known_is_refused(db: Session, cast: Cast, typed: dict[str, Any]) -> None:
    stored = {"password": "x", "login": [{"name": "ben", "password": "b"}, {"name": "cleo", "password": "c"}]}
    id_ = submit("test.secret", business="acme", payload=stored)
    with pytest.raises(BadPayload, match="hidden value"):
        tasks.edit(db, cast.ada, id_, Changes(None, 0, None, typed))
    db.rollback()
    assert look.task(id_).payload == stored
    with pytest.raises(BadPayload, match="hidden value"):
        submit("test.secret", business="acme", payload={"password": "•••"})


def test_a_wrong_edit_tells_no_stored_secret(cast: Cast, ada: Browser) -> None:
    id_ = submit("test.secret", business="acme", payload=PAYLOAD)
    typed = {**tasks.shown_payload(look.task(id_)), "how": [1]}
    answer = ada.act(f"/b/acme/tasks/{id_}/edit", 422, title="", priority="0", payload=json.dumps(typed))
    assert "The payload does not fit" in answer.text
    assert not leaks(answer.text)


def test_the_payload_of_a_type_that_is_not_registered_shows_no_value(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, task_type="gone.type", payload={"month": "2026-10", "password": CANARY})
    assert tasks.shown_payload(look.task(id_)) == {"month": "•••", "password": "•••"}
    assert not leaks(ada.get(f"/b/acme/tasks/{id_}").text)


def test_an_error_of_the_database_tells_no_payload(cast: Cast, capfd: Any) -> None:
    with transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE tasks RENAME TO gone")
    with pytest.raises(SQLAlchemyError) as raised:
        submit("test.secret", business="acme", payload=PAYLOAD)
    assert not leaks(str(raised.value))
    with transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE gone RENAME TO tasks")


def test_short_secrets_are_masked_on_pages_but_not_hunted_in_texts(cast: Cast) -> None:
    id_ = submit("test.secret", business="acme", payload={"password": "abc", "pin": 12})
    work(cast)
    assert tasks.shown_payload(look.task(id_)) == {"password": "•••", "pin": "•••"}
    assert look.scalars(select(Task.state)) == ["completed"]
    assert look.scalar(select(Entry.id).where(Entry.text == "said abc"))
