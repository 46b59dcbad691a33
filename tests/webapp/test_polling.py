"""A list that has not changed is not sent again, and nobody is told that of another's list."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser
from webapp import freshness

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]
TASKS = "/b/acme/tasks"


@pytest.fixture(autouse=True)
def _clock_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test falls between two renderings of the same data."""
    monkeypatch.setattr(freshness, "_RENDER_EVERY_SECONDS", 10**10)


def poll(browser: Browser, tag: str | None = None, path: str = TASKS) -> TestResponse:
    """What a list asks for when its time has come."""
    same = {"HX-Source": "section#tasks-table", "HX-Target": "section#tasks-table"}
    return browser.raw("GET", path, headers=PART | same | ({"HX-PTag": tag} if tag else {}))


def first(browser: Browser, path: str = TASKS) -> str:
    """The tag of the list as it is now."""
    browser.get("/account")
    answer = poll(browser, path=path)
    assert answer.status_code == 200
    return str(answer.headers["HX-PTag"])


def test_a_list_that_has_not_changed_is_answered_without_a_body(cast: Cast, ada: Browser) -> None:
    rows.task(cast.acme, cast.ben, "completed")
    tag = first(ada)
    answer = poll(ada, tag)
    assert (answer.status_code, answer.data, answer.headers["HX-PTag"]) == (304, b"", tag)
    assert "no-store" in answer.headers["Cache-Control"]


def test_it_is_not_even_rendered(cast: Cast, ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.task(cast.acme, cast.ben, "completed")
    tag = first(ada)

    def refuse(*_: Any, **__: Any) -> str:
        raise AssertionError("it was rendered")

    monkeypatch.setattr(freshness, "render_template", refuse)
    assert poll(ada, tag).status_code == 304


def test_what_is_rendered_anew_and_looks_the_same_is_not_sent(
    cast: Cast, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.task(cast.acme, cast.ben, "completed")
    rows.pause(cast.acme, cast.ada, cast.ben)  # with a form in it, whose token differs each time
    for path in (TASKS, "/b/acme/pauses"):
        old = first(ada, path)
        monkeypatch.setattr(freshness, "_RENDER_EVERY_SECONDS", 1)
        answer = poll(ada, old, path)
        assert answer.status_code == 304, path
        assert answer.headers["HX-PTag"] != old
        monkeypatch.setattr(freshness, "_RENDER_EVERY_SECONDS", 10**10)


def test_any_change_is_sent(cast: Cast, ada: Browser) -> None:
    acts: dict[str, Callable[[], Any]] = {
        "a task": lambda: rows.task(cast.acme, cast.ben),
        "one with a title": lambda: rows.task(cast.acme, cast.cleo, "failed", title="Another"),
        "a pause": lambda: rows.pause(cast.acme, cast.ada, cast.ben),
        "a task of a new type": lambda: rows.task(cast.acme, task_type="script.execute"),
    }
    for name, act in acts.items():
        tag = first(ada)
        act()
        assert poll(ada, tag).status_code == 200, name


def test_another_address_another_user_another_business_and_another_login_get_their_own(
    cast: Cast, ada: Browser, as_user: As
) -> None:
    tag = first(ada)
    assert poll(ada, tag, f"{TASKS}?q=ben").status_code == 200
    assert poll(ada, tag, "/b/globex/tasks").status_code == 200
    for other in (as_user("root"), as_user("ada")):
        other.get("/account")
        assert poll(other, tag).status_code == 200
    assert poll(as_user("ben"), tag).status_code == 403
    assert poll(as_user("zoe"), tag).status_code == 404
    assert poll(as_user(), tag).status_code == 401


def test_another_choice_of_hers_is_sent(cast: Cast, ada: Browser) -> None:
    tag = first(ada)
    ada.act("/account/preferences", name="rate", value="5")
    assert "every 5s" in poll(ada, tag).text


@pytest.mark.parametrize("tag", ["", ".", "nonsense", "a.b", "🙂".encode().decode("latin-1"), "x" * 5000])
def test_a_made_up_tag_matches_nothing(cast: Cast, ada: Browser, tag: str) -> None:
    assert poll(ada, tag).status_code == 200


def test_a_page_is_never_unchanged(cast: Cast, ada: Browser) -> None:
    assert ada.raw("GET", TASKS, headers={"HX-PTag": first(ada)}).status_code == 200


def test_an_unchanged_list_of_fifty_costs_much_less_than_a_changed_one(cast: Cast, ada: Browser) -> None:
    for _ in range(50):
        rows.task(cast.acme, cast.ben, "completed")
    tag = first(ada)

    def cost(sent: str | None, status: int) -> float:
        spent = []
        for _ in range(15):
            began = time.thread_time()
            assert poll(ada, sent).status_code == status
            spent.append(time.thread_time() - began)
        return min(spent)

    assert cost(tag, 304) < 0.7 * cost(None, 200)
