"""Running a task again, hurrying one that waits for its time, and the links between tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs import reruns, submit, tasks
from jobs.models import Task
from jobs.payloads import BadPayload
from jobs.redaction import MASK
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import NotAllowed, NotFound
from tenants.permissions import Actor
from tests import look
from tests.factories import Cast
from tests.webapp import rows

Work = Callable[..., None]
BEN = "ben@example.com"


def again(by: Actor, id_: int, **payload: object) -> Task:
    with transaction() as session:
        new = reruns.run_again(session, by, id_, payload)
    return look.task(new)


def hurry(by: Actor, id_: int) -> Task:
    with transaction() as session:
        tasks.retry_now(session, by, id_)
    return look.task(id_)


def links(by: Actor, id_: int) -> reruns.Links:
    with transaction(read_only=True) as session:
        return reruns.links(session, by, tasks.get(session, by, id_))


def test_a_failed_task_runs_again_as_a_new_one(db: Session, cast: Cast, work: Work) -> None:
    old = submit("test.fail", business="acme", user=BEN, payload={"text": "gone"}, title="Sums", priority=7)
    work("default")
    new = again(cast.ada, old, text="still gone")
    assert (new.rerun_of, new.title, new.priority, new.payload) == (old, "Sums", 7, {"text": "still gone"})
    assert (new.state, new.user_id, new.parent_id) == ("pending", cast.ada.user.id, None)
    assert look.task(old).state == "failed", "the old one stays"
    found = links(cast.ada, old)
    assert [one.id for one in found.reruns] == [new.id]
    original = links(cast.ada, new.id).original
    assert original
    assert original.id == old
    assert [one.subject for one in rows.audited("run again")] == [f"task:{new.id}"]


def test_a_secret_whose_mask_was_left_standing_stays(db: Session, cast: Cast, work: Work) -> None:
    old = rows.task(cast.acme, cast.ben, "failed", task_type="test.secret", payload={"password": "canary-7Q"})
    with transaction(read_only=True) as session:
        shown = tasks.shown_payload(tasks.get(session, cast.ben, old))
    assert shown == {"password": MASK}
    assert again(cast.ben, old, **shown).payload == {"password": "canary-7Q"}


def test_what_is_not_over_does_not_run_again_and_a_wrong_payload_makes_no_row(db: Session, cast: Cast) -> None:
    waiting = submit("test.fail", business="acme", user=BEN)
    with pytest.raises(reruns.NotOver):
        again(cast.ben, waiting)
    failed = rows.task(cast.acme, cast.ben, "failed", task_type="test.fail")
    with pytest.raises(BadPayload):
        again(cast.ben, failed, text=3)
    assert look.scalars(select(Task.rerun_of).where(Task.rerun_of.is_not(None))) == []


def test_outsiders_and_auditors_run_nothing_again(db: Session, cast: Cast) -> None:
    bens = rows.task(cast.acme, cast.ben, "failed", task_type="test.fail")
    for outsider in (cast.cleo, cast.zoe):
        with pytest.raises(NotFound):
            again(outsider, bens)
    with pytest.raises(NotAllowed):
        again(rows.auditor(cast.acme), bens)


def test_a_task_that_waits_for_its_time_starts_now(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme", user=BEN, start_at=datetime.now(UTC) + timedelta(days=1))
    hurry(cast.ben, id_)
    due = hurry(cast.ben, id_).next_try_at
    assert due <= datetime.now(UTC)
    assert hurry(cast.ben, id_).next_try_at == due, "the second time changes nothing"
    assert len(rows.audited("retry")) == 1
    work("default")
    assert look.task(id_).state == "completed"
    with pytest.raises(tasks.NotWaiting):
        hurry(cast.ben, id_)


def test_a_task_that_waits_for_its_next_attempt_has_it_now(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.again", business="acme", user=BEN)
    work("default")
    with transaction() as session:
        waits = {"state": "pending", "next_try_at": clock(900), "attempts": 1, "ended_at": None}
        session.execute(update(Task).where(Task.id == id_).values(**waits))
    hurry(cast.ada, id_)
    for outsider in (cast.cleo, cast.zoe):
        with pytest.raises(NotFound):
            hurry(outsider, id_)
    assert look.task(id_).next_try_at <= datetime.now(UTC)


def test_a_task_that_a_task_submits_knows_its_parent(db: Session, cast: Cast, work: Work) -> None:
    parent = submit("test.nest", business="acme", user=BEN)
    work("default")
    children = links(cast.ben, parent).children
    assert [one.task_type for one in children] == ["test.note"]
    assert look.task(children[0].id).parent_id == parent
    found = links(cast.ben, children[0].id).parent
    assert found
    assert found.id == parent
    assert submit("test.note", business="acme") > 0
    assert len(look.scalars(select(Task.id).where(Task.parent_id.is_not(None)))) == 1, "only from inside a handler"


def test_links_lead_only_to_what_somebody_may_see(db: Session, cast: Cast) -> None:
    cleos = rows.task(cast.acme, cast.cleo, "failed", task_type="test.fail")
    bens = rows.task(cast.acme, cast.ben, parent_id=cleos, rerun_of=cleos)
    assert not links(cast.ben, bens)
    assert links(cast.ada, bens).parent
    hidden = rows.task(cast.acme, cast.ben, "failed", rerun_of=bens, undo_until=clock(30))
    assert hidden not in [one.id for one in links(cast.ada, bens).reruns]
