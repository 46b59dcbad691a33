"""Acts on many tasks: on those that Ada ticks, and on all that match."""

from __future__ import annotations

import json

import pytest
from werkzeug.test import TestResponse

from jobs import turns
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document


def test_ada_interrupts_the_tasks_that_she_ticked(cast: Cast, ada: Browser) -> None:
    ticked = [rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.ben, "running")]
    other = rows.task(cast.acme, cast.ben)
    assert "Interrupt 2 tasks in Acme" in ada.htmx(_asked("interrupt", ticked)).text
    answer = ada.act("/b/acme/bulk-acts", act="interrupt", ids=ticked)
    assert _toast(answer)["message"] == "2 tasks interrupted."
    assert [_state(id_) for id_ in (*ticked, other)] == ["canceled", "cancelling", "pending"]
    assert sorted(one.subject for one in rows.audited("interrupt")) == sorted(f"task:{id_}" for id_ in ticked)


def test_those_that_do_not_allow_it_are_passed_over_and_told(cast: Cast, ada: Browser) -> None:
    ticked = [rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.ben, "failed")]
    answer = ada.act("/b/acme/bulk-acts", act="interrupt", ids=ticked)
    assert _toast(answer)["message"] == "1 task interrupted. 1 passed over: This task is over already."
    assert [_state(id_) for id_ in ticked] == ["canceled", "failed"]


def test_a_priority_for_many(cast: Cast, ada: Browser) -> None:
    ticked = [rows.task(cast.acme, cast.ben, payload={"times": 3}), rows.task(cast.acme, cast.cleo, "running")]
    part = Document(ada.act("/b/acme/bulk-acts", 422, act="priority", ids=ticked))
    assert "Type a whole number." in part.text
    part = Document(ada.act("/b/acme/bulk-acts", 422, act="priority", ids=ticked, priority=10**12))
    assert "A priority is a whole number between" in part.text
    ada.act("/b/acme/bulk-acts", act="priority", ids=ticked, priority=12)
    found = [rows.find_task(id_) for id_ in ticked]
    assert [one.priority for one in found if one] == [12, 0]
    assert found[0]
    assert found[0].payload == {"times": 3}


def test_a_task_that_its_type_does_not_take_any_more_is_passed_over_and_the_others_are_not(
    cast: Cast, ada: Browser
) -> None:
    """One of a type that is gone, and one of yesterday's signature, were a 422 for all that was ticked."""
    gone, good = rows.task(cast.acme, cast.ben, task_type="gone.type"), rows.task(cast.acme, cast.ben)
    toast = _toast(ada.act("/b/acme/bulk-acts", act="priority", ids=[gone, good], priority=12))
    assert "1 passed over: No task type 'gone.type' is registered." in toast["message"]
    assert (found := rows.find_task(good))
    assert found.priority == 12
    misfit = rows.task(cast.acme, cast.ben, "failed", payload={"of": "yesterday"})
    failed = rows.task(cast.acme, cast.ben, "failed", payload={"times": 2})
    toast = _toast(ada.act("/b/acme/bulk-acts", act="retry", ids=[misfit, failed]))
    assert "1 passed over: The payload does not fit" in toast["message"]
    assert (again := rows.find_task(failed + 1))
    assert again.rerun_of == failed


def test_what_failed_runs_again_once(cast: Cast, ada: Browser) -> None:
    failed = rows.task(cast.acme, cast.ben, "failed", payload={"times": 2})
    ada.act("/b/acme/bulk-acts", act="retry", ids=[failed])
    again = rows.find_task(failed + 1)
    assert again
    assert (again.rerun_of, again.state, again.payload) == (failed, "pending", {"times": 2})
    answer = ada.act("/b/acme/bulk-acts", act="retry", ids=[failed])
    assert "This task was run again already." in _toast(answer)["message"]


def test_deleting_many_can_be_undone(cast: Cast, ada: Browser) -> None:
    ticked = [rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.ben, "completed")]
    undo = _toast(ada.act("/b/acme/bulk-acts", act="delete", ids=ticked))["undo"]
    assert not set(ticked) & set(ada.get("/b/acme/tasks?state=completed").rows())
    ada.act(undo)
    assert [_state(id_) for id_ in ticked] == ["pending", "completed"]


def test_all_that_match_is_a_task_of_its_own(cast: Cast, ada: Browser) -> None:
    matching = [rows.task(cast.acme, cast.ben) for _ in range(3)]
    cleo = rows.task(cast.acme, cast.cleo)
    asked = ada.htmx("/b/acme/bulk-acts/new?act=interrupt&all=1&q=user:ben&view=all")
    assert "Interrupt 3 tasks in Acme" in asked.text
    last_id = next(one["value"] for one in asked.all("input", name="last_id"))
    later = rows.task(cast.acme, cast.ben)
    answer = ada.act("/b/acme/bulk-acts", act="interrupt", all=1, q="user:ben", view="all", last_id=last_id)
    assert answer.status_code == 204
    operation = int(str(_toast(answer)["href"]).rpartition("/")[2])
    turns.run(cast.acme.id, "operations", "here")
    page = ada.get(f"/b/acme/tasks/{operation}")
    assert "3 of 3" in page.text
    assert [_state(id_) for id_ in (*matching, cleo, later)] == ["canceled"] * 3 + ["pending"] * 2


@pytest.mark.parametrize(
    "wrong", [{}, {"all": 1}, {"ids": ["x"]}, {"ids": [1], "act": "nonsense"}, {"ids": list(range(1, 102))}]
)
def test_nonsense_does_nothing(cast: Cast, ada: Browser, wrong: dict[str, object]) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    ada.act("/b/acme/bulk-acts", 422, **{"act": "interrupt", **wrong})
    assert _state(id_) == "pending"


def test_foreign_tasks_are_passed_over_like_missing_ones(cast: Cast, ada: Browser) -> None:
    foreign = rows.task(cast.initech, cast.zoe)
    said = [_toast(ada.act("/b/acme/bulk-acts", act="delete", ids=[id_]))["message"] for id_ in (foreign, 999_999)]
    assert said[0] == said[1]
    assert _state(foreign) == "pending"


@pytest.mark.parametrize("act", ["interrupt", "retry", "priority", "delete"])
def test_members_act_on_their_own_tasks_one_by_one(cast: Cast, ben: Browser, act: str) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    ben.get(_asked(act, [id_]), 403)
    ben.post("/b/acme/bulk-acts", 403, act=act, ids=[id_], priority=1)
    assert _state(id_) == "pending"


def test_an_act_on_all_is_aborted_and_a_task_interrupted(cast: Cast, ada: Browser) -> None:
    act, task = (rows.task(cast.acme, cast.ada, "running", task_type=name) for name in ("tasks.bulk", "test.note"))
    for id_, verb, other in ((act, "Abort", "Interrupt"), (task, "Interrupt", "Abort")):
        page, asked = (ada.get(f"/b/acme/tasks/{id_}{part}").text for part in ("", "/interruption"))
        assert f"{verb} task {id_}" in page
        assert f"{verb} task #{id_} in Acme" in asked
        assert other not in page + asked


def _asked(act: str, ids: list[int]) -> str:
    return f"/b/acme/bulk-acts/new?act={act}&" + "&".join(f"ids={id_}" for id_ in ids)


def _toast(answer: TestResponse) -> dict[str, str]:
    toast: dict[str, str] = json.loads(answer.headers["HX-Trigger"])["toast"]
    return toast


def _state(task_id: int) -> str | None:
    task = rows.find_task(task_id)
    return task.state if task else None
