"""What a host application adds to the page of a task: the node that its payload names, and its result in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from jobs import queue, task_types
from jobs.models import Attempt
from tenants.database import transaction
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser


@pytest.fixture(autouse=True)
def _types(app: Flask) -> Iterator[None]:
    task_types.load(("tests.task_types",))
    yield
    queue.flush()


def completed(cast: Cast, result: object, task_type: str = "test.shown") -> str:
    """The page of a task that made this result."""
    id_ = rows.task(cast.acme, cast.ben, "completed", task_type=task_type, payload={})
    with transaction() as session:
        session.query(Attempt).filter_by(task_id=id_).one().result = result
    return f"/b/acme/tasks/{id_}"


@pytest.mark.parametrize("id_", [17, "P-17"])
def test_a_node_is_told_by_the_host_application(cast: Cast, ben: Browser, id_: object) -> None:
    page = ben.get(f"/b/acme/tasks/{rows.task(cast.acme, cast.ben, payload={'node_id': id_})}")
    assert f"Node {id_} Name <b>Pump {id_}</b> Site acme Bar 2.5" in page.text


@pytest.mark.parametrize("payload", [{"node_id": one} for one in ("unknown", "broken", None, ["x"])] + [{}])
def test_a_page_does_without_what_nobody_knows(cast: Cast, ben: Browser, payload: dict[str, Any]) -> None:
    page = ben.get(f"/b/acme/tasks/{rows.task(cast.acme, cast.ben, payload=payload)}")
    assert not page.all("h2", id_="details-node")
    assert "no such table" not in page.response.text


def test_a_secret_is_no_node(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, task_type="test.shown", payload={"node_id": "canary"})
    page = ben.get(f"/b/acme/tasks/{id_}")
    assert "canary" not in page.response.text
    assert not page.all("h2", id_="details-node")


def test_a_type_shows_its_result_in_its_own_words(cast: Cast, ben: Browser) -> None:
    assert "Result Rows 8 Half 4" in ben.get(completed(cast, {"rows": 8, "text": False})).text
    page = ben.get(completed(cast, {"rows": 8, "text": True}))
    assert "<i>8</i> rows" in page.text
    assert page.all("pre", id_="result-text")


def test_a_result_that_its_type_cannot_show_is_json(cast: Cast, ben: Browser) -> None:
    page = ben.get(completed(cast, {"odd": 1}))
    assert '"odd": 1' in page.text
    assert page.all("div", id_="result-text")
    assert '"odd": 1' in ben.get(completed(cast, {"odd": 1}, "test.count")).text
