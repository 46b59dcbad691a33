"""A deletion can be undone for thirty seconds: the task comes back as it was, or is gone for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from jobs import choices, deletions, interrupts, leases, lists, pauses, records, submit, tasks
from jobs.beat import Beat
from jobs.choices import Choice
from jobs.filters import TaskFilter
from jobs.judge import Target
from jobs.lists import Tab
from jobs.models import Attempt, Entry, Task
from jobs.states import State
from jobs.unique import DuplicateTask
from tenants.clock import clock
from tenants.database import transaction
from tenants.errors import NotAllowed, NotFound
from tenants.permissions import Actor
from tests import look
from tests.factories import Cast
from tests.waiting import until
from tests.webapp import rows

Work = Callable[..., None]
BEN = "ben@example.com"


def delete(by: Actor, id_: int, **how: Any) -> str:
    with transaction() as session:
        return deletions.begin(session, by, id_, **how)


def undo(by: Actor, id_: int) -> str:
    with transaction() as session:
        return deletions.undo(session, by, id_)


def time_passes() -> None:
    """The thirty seconds are over."""
    with transaction() as session:
        session.execute(update(Task).where(Task.undo_until.is_not(None)).values(undo_until=clock(-1)))


def shown(by: Actor, tab: Tab | None = None) -> list[int]:
    with transaction(read_only=True) as session:
        wanted = TaskFilter()
        page = lists.own(session, by, tab, wanted) if tab else lists.search(session, by, wanted)
        return [row.task.id for row in page.rows]


def canceled(by: Actor, sort: str = "-created") -> tuple[list[int], int]:
    """What the state Canceled shows, and how many it says that there are."""
    with transaction(read_only=True) as session:
        page = lists.search(session, by, TaskFilter.from_args({"state": "canceled", "sort": sort}))
        return [row.task.id for row in page.rows], page.total


def everything(id_: int) -> dict[str, Any]:
    """A task's row, all of it."""
    with transaction(read_only=True) as session:
        return dict(session.execute(select(Task.__table__).where(Task.id == id_)).mappings().one())


def test_a_waiting_task_is_cancelling_and_then_canceled(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    assert delete(cast.ben, id_) == "cancelling"
    work("default")
    one = look.task(id_)
    assert (one.state, one.cause, one.attempts, one.claim_token) == ("cancelling", "deleted", 0, None)
    Beat().finish_deletions()
    assert look.task(id_).state == "cancelling", "its time is not over"
    time_passes()
    Beat().finish_deletions()
    one = look.task(id_)
    assert (one.state, one.cause, one.ended_by, one.undo_until) == ("canceled", "deleted", cast.ben.user.id, None)
    assert one.ended_at


def test_undo_restores_the_row_and_its_place_in_the_queue(db: Session, cast: Cast, work: Work) -> None:
    ids = [submit("test.note", business="acme", user=BEN) for _ in range(3)]
    before = everything(ids[0])
    delete(cast.ada, ids[0])
    assert undo(cast.ada, ids[0]) == "pending"
    assert everything(ids[0]) == before
    work("default")
    begun = look.rows(select(Attempt.task_id).order_by(Attempt.started_at, Attempt.id))
    assert [one[0] for one in begun] == ids


@pytest.mark.parametrize("state", ["completed", "failed", "canceled"])
def test_a_final_task_is_hidden_at_once_and_removed_later(db: Session, cast: Cast, state: str) -> None:
    id_ = rows.task(cast.acme, cast.ben, state)
    rows.entry(id_, cast.acme, "a line")
    tab = Tab.FINISHED if state == "completed" else Tab.FAILED
    assert delete(cast.ben, id_) == state
    assert (shown(cast.ben, tab), shown(cast.ada)) == ([], [])
    with pytest.raises(NotFound), transaction() as session:
        tasks.get(session, cast.ada, id_)
    assert undo(cast.ben, id_) == state
    assert (shown(cast.ben, tab), shown(cast.ada)) == ([id_], [id_])
    delete(cast.ben, id_)
    time_passes()
    Beat().finish_deletions()
    assert rows.find_task(id_) is None
    assert rows.number_of(Entry) == rows.number_of(Attempt) == 0
    with pytest.raises(NotFound):
        undo(cast.ben, id_)


def test_many_deletions_become_final_in_chunks(db: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [submit("test.note", business="acme", user=BEN) for _ in range(5)]
    ended = [rows.task(cast.acme, cast.ben, "completed") for _ in range(3)]
    for id_ in waiting + ended:
        delete(cast.ada, id_)
    time_passes()
    monkeypatch.setattr("jobs.deletions.CHUNK", 2)
    with transaction() as session:
        assert deletions.finish(session) == 4, "two of each kind"
    Beat().finish_deletions()
    assert [look.task(id_).state for id_ in waiting] == ["canceled"] * 5
    assert [rows.find_task(id_) for id_ in ended] == [None] * 3


def test_what_was_deleted_while_it_waited_stands_with_what_was_canceled(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    delete(cast.ben, id_)
    assert (shown(cast.ben, Tab.PENDING), shown(cast.ben, Tab.FAILED)) == ([], [id_])


def test_the_canceled_ones_hold_it_at_once_and_what_is_being_canceled_not(db: Session, cast: Cast) -> None:
    running, waiting, old = (rows.task(cast.acme, cast.ben, state) for state in ("running", "pending", "canceled"))
    with transaction() as session:
        interrupts.interrupt(session, cast.ada, running)
    assert canceled(cast.ada) == ([old], 1)
    delete(cast.ben, waiting)
    assert canceled(cast.ada) == ([old, waiting], 2)
    assert canceled(cast.ada, "status") == ([waiting, old], 2)
    assert canceled(cast.zoe) == ([], 0)
    undo(cast.ben, waiting)
    assert canceled(cast.ada) == ([old], 1)
    delete(cast.ben, waiting)
    time_passes()
    Beat().finish_deletions()
    assert canceled(cast.ada) == ([old, waiting], 2)


def test_what_was_deleted_while_it_waited_counts_as_cancelling_and_with_the_canceled(db: Session, cast: Cast) -> None:
    running, waiting, _ = (rows.task(cast.acme, cast.ben, state) for state in ("running", "pending", "canceled"))
    with transaction() as session:
        interrupts.interrupt(session, cast.ada, running)
    delete(cast.ben, waiting)
    delete(cast.cleo, rows.task(cast.acme, cast.cleo))
    for wanted, numbers in (({}, [3, 3, 4]), ({"user": str(cast.ben.user.id)}, [2, 2, 3])):
        for state in ("", "canceled", "cancelling"):
            with transaction(read_only=True) as session:
                page = lists.search(session, cast.ada, TaskFilter.from_args({**wanted, "state": state}))
            told = [page.counts[one].number for one in (State.CANCELED, State.CANCELLING, None)]
            assert told == numbers, (wanted, state)
            assert page.total == {"": told[2], "canceled": told[0], "cancelling": told[1]}[state]


def test_deleting_twice_gives_no_more_time_and_undoing_twice_changes_nothing(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    delete(cast.ben, id_)
    first = everything(id_)
    assert delete(cast.ada, id_) == "cancelling"
    assert everything(id_) == first
    assert undo(cast.ben, id_) == undo(cast.ben, id_) == "pending"
    assert [one.act for one in rows.audited("delete") + rows.audited("undo delete")] == ["delete", "undo delete"]


def test_too_late_is_told_before_and_after_the_beat(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    delete(cast.ben, id_)
    time_passes()
    with pytest.raises(deletions.TooLate):
        undo(cast.ben, id_)
    Beat().finish_deletions()
    with pytest.raises(deletions.TooLate):
        undo(cast.ben, id_)
    assert look.task(id_).state == "canceled"


def test_a_task_that_runs_stays_as_it_is(db: Session, cast: Cast) -> None:
    for state in ("running", "cancelling"):
        held = {"claim_token": "t", "lease_until": clock(60), "attempts": 1}
        id_ = rows.task(cast.acme, cast.ben, state, **held)
        with pytest.raises(tasks.StillRunning):
            delete(cast.ben, id_)
        assert undo(cast.ben, id_) == state


def test_people_delete_and_undo_only_what_is_theirs(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    for outsider in (cast.cleo, cast.zoe):
        with pytest.raises(NotFound):
            delete(outsider, id_)
    delete(cast.ben, id_)
    for outsider in (cast.cleo, cast.zoe):
        with pytest.raises(NotFound):
            undo(outsider, id_)
    with pytest.raises(NotAllowed):
        undo(rows.auditor(cast.acme), id_)
    assert look.task(id_).state == "cancelling"


def test_a_paused_task_comes_back_and_waits_for_its_pause(db: Session, cast: Cast, work: Work) -> None:
    pause = pauses.pause(db, cast.ada, Target(cast.acme.id, user_id=cast.ben.user.id), "too loud")
    db.commit()
    id_ = submit("test.note", business="acme", user=BEN)
    Beat()()
    assert look.task(id_).state == "paused"
    delete(cast.ben, id_)
    Beat()()
    undo(cast.ben, id_)
    work("default")
    Beat()()
    assert look.task(id_).state == "paused"
    pauses.resume(db, cast.ada, pause.id)
    db.commit()
    work("default")
    assert look.task(id_).state == "completed"


def test_an_interrupt_and_a_deletion_at_once_end_what_could_be_undone(db: Session, cast: Cast) -> None:
    stopped, gone = (submit("test.note", business="acme", user=BEN) for _ in range(2))
    for id_ in (stopped, gone):
        delete(cast.ben, id_)
    with transaction() as session:
        assert interrupts.interrupt(session, cast.ada, stopped) == "canceled"
        assert tasks.delete(session, cast.ada, gone) == "canceled"
    for id_ in (stopped, gone):
        assert look.task(id_).undo_until is None
    assert undo(cast.ben, stopped) == "canceled", "it is no deletion any more"
    with pytest.raises(deletions.TooLate):
        undo(cast.ben, gone)


def test_what_holds_no_lease_is_nothing_to_workers(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN, unique_key="one")
    delete(cast.ben, id_)
    with transaction() as session:
        assert leases.reap(session) == 0
        records.cancel(session, records.held("t", [id_]))
        touched = choices.impact(session, Choice((cast.ada,), users=(cast.ben.user.id,)))
    assert (touched.waiting, touched.running) == (0, 0)
    assert look.task(id_).state == "cancelling"
    with pytest.raises(DuplicateTask):  # it may come back
        submit("test.note", business="acme", unique_key="one")


def test_its_history_tells_of_the_deletion_and_of_its_undo(db: Session, cast: Cast) -> None:
    from jobs import history

    id_ = submit("test.note", business="acme", user=BEN)
    delete(cast.ada, id_)
    undo(cast.ben, id_)
    delete(cast.ada, id_)
    time_passes()
    Beat().finish_deletions()
    with transaction(read_only=True) as session:
        told = [one.text for one in history.timeline(session, cast.ben, id_)]
    assert told[1:-1] == ["Deleted by Ada Lovelace", "Deletion undone by Ben Ito", "Deleted by Ada Lovelace"]
    assert told[-1] == "Canceled by Ada Lovelace: deleted"


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_when_undo_races_with_the_beat_exactly_one_of_them_wins(db: Session, cast: Cast, state: str) -> None:
    for _ in range(15):
        id_ = rows.task(cast.acme, cast.ben, state)
        delete(cast.ben, id_, undo_seconds=0.02)
        said: list[str] = []

        def try_undo(id_: int = id_, said: list[str] = said) -> None:
            try:
                said.append(undo(cast.ben, id_))
            except (deletions.TooLate, NotFound):
                said.append("too late")

        people = [threading.Thread(target=try_undo), threading.Thread(target=Beat().finish_deletions)]
        for one in people:
            one.start()
        for one in people:
            one.join()
        time_passes()
        Beat().finish_deletions()
        left = rows.find_task(id_)
        if said == ["too late"]:
            assert left is None or (state, left.state) == ("pending", "canceled")
        else:
            assert left
            assert (said, left.state, left.undo_until) == ([state], state, None)


def test_two_who_delete_at_once_make_one_deletion(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    people = [threading.Thread(target=delete, args=(by, id_)) for by in (cast.ada, cast.ben, cast.root)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert len(rows.audited("delete")) == 1
    assert undo(cast.ben, id_) == "pending"


def test_two_who_remove_a_final_task_at_once_leave_one_trace(db: Session, cast: Cast) -> None:
    id_ = submit("test.note", business="acme", user=BEN)
    db.execute(update(Task).where(Task.id == id_).values(state="completed"))
    db.commit()
    said: list[type[Exception] | None] = []

    def remove() -> None:
        try:
            with transaction() as session:
                tasks.delete(session, cast.ben, id_)
        except NotFound as error:
            said.append(type(error))

    with transaction() as session:
        assert tasks.delete(session, cast.ada, id_) is None
        other = threading.Thread(target=remove)
        other.start()
        if session.get_bind().dialect.name == "postgresql":
            waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            until(lambda: look.scalar(waits))  # type: ignore[arg-type]
    other.join()
    assert (said, len(rows.audited("delete"))) == ([NotFound], 1)
