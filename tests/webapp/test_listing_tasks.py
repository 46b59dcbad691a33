"""Async Tasks: what stands in the table, in which order, and what a search finds."""

from __future__ import annotations

import base64
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from jobs.models import Task
from tenants.database import transaction
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser, Document

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def tasks(cast: Cast) -> dict[str, int]:
    """Five tasks of Acme, a minute apart, and one of Globex."""
    ids = {
        "ben": rows.task(cast.acme, cast.ben, created_at=NOON),
        "cleo": rows.task(cast.acme, cast.cleo, "running", created_at=NOON + timedelta(minutes=1)),
        "scheduler": rows.task(cast.acme, None, created_at=NOON + timedelta(minutes=2), task_type="script.execute"),
        "ada": rows.task(
            cast.acme, cast.ada, "failed", created_at=NOON + timedelta(minutes=3), task_type="tasks.export"
        ),
        "bens": rows.task(cast.acme, cast.ben, "completed", created_at=NOON + timedelta(minutes=4)),
    }
    rows.task(cast.globex, cast.ada)
    return ids


def listed(browser: Browser, query: str, tasks: dict[str, int]) -> list[str]:
    """Whose tasks the table lists, in order; page and fragment agree."""
    page, part = browser.get(f"/b/acme/tasks{query}"), browser.htmx(f"/b/acme/tasks{query}")
    assert page.rows() == part.rows()
    names = {id_: name for name, id_ in tasks.items()}
    return [names[id_] for id_ in page.rows()]


def test_the_table_lists_every_task_of_the_business_newest_first(ada: Browser, tasks: dict[str, int]) -> None:
    assert listed(ada, "", tasks) == ["bens", "ada", "scheduler", "cleo", "ben"]
    page = ada.get("/b/acme/tasks")
    headings = [words for words in ("User", "Task Type", "Created At", "Status", "Actions") if words in page.text]
    assert headings == ["User", "Task Type", "Created At", "Status", "Actions"]
    for words in ("Resume All", "Pause User", "Pause Task Type", "Scheduler", "Ben Ito", "Run script", "5 of 5"):
        assert words in page.text


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("ben@example.com", ["bens", "ben"]),
        (" Ben@Example.com ", ["bens", "ben"]),
        ("cle", ["cleo"]),
        ('"Ben Ito"', ["bens", "ben"]),
        ("zoe@example.com", []),  # of Initech: here she is nobody
        ("nobody@example.com", []),
    ],
)
def test_the_user_of_a_filter_may_be_typed(ada: Browser, tasks: dict[str, int], typed: str, found: list[str]) -> None:
    query = f"?{urlencode({'user': typed, 'sort': '-created'})}"
    assert listed(ada, query, tasks) == found
    html = ada.raw("GET", f"/b/acme/tasks{query}").get_data(as_text=True)
    assert html.count('class="applied-chip"') == 1
    assert "Zoe" not in html


def test_a_typed_user_counts_beside_a_search_of_full_length(ada: Browser, tasks: dict[str, int]) -> None:
    query = urlencode({"user": "cle", "q": "user:" + "b" * 95})
    html = ada.raw("GET", f"/b/acme/tasks?{query}").get_data(as_text=True)
    assert "Remove user:&#34;cle&#34;" in html


def test_people_are_proposed_to_those_who_may_see_them(ada: Browser, ben: Browser) -> None:
    def proposed(who: Browser, business: str, typed: str) -> list[str]:
        html = who.raw("GET", f"/b/{business}/people?{urlencode({'user': typed})}").get_data(as_text=True)
        return re.findall(r'<option value="([^"]+)">', html)

    assert proposed(ada, "acme", "be") == ["ben@example.com"]
    assert proposed(ada, "acme", "Marsh") == ["cleo@example.com"]
    assert proposed(ada, "acme", "") == []
    assert proposed(ada, "acme", "zoe") == []
    assert ben.raw("GET", "/b/acme/people?user=cleo").status_code == 403
    assert ada.raw("GET", "/b/initech/people?user=zoe").status_code == 404


@pytest.mark.parametrize("path", ["tasks", "active", "history"])
def test_what_the_search_proposes_is_a_search(ada: Browser, tasks: dict[str, int], path: str) -> None:
    html = ada.raw("GET", f"/b/acme/{path}").get_data(as_text=True)
    proposed = re.findall(r'<option value="((?:state|type):[^"]+)">', html)
    assert {"type:script.execute", "state:running"} <= set(proposed)
    for term in proposed:
        name, _, value = term.partition(":")
        chosen = ada.get(f"/b/acme/{path}?{name}={value}")
        assert ada.get(f"/b/acme/{path}?q={term}").rows() == chosen.rows(), term
    part = ada.raw("GET", f"/b/acme/{path}", headers=PART).get_data(as_text=True)
    assert "<datalist" not in part, "a refresh leaves it where it is"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=bEN", ["bens", "ben"]),
        ("q=%22o%20m%22", ["cleo"]),
        ("q=sched", ["scheduler"]),
        ("q=run%20SCR", ["scheduler"]),
        ("q=script.exec", ["scheduler"]),
        ("q=count", ["bens", "cleo", "ben"]),
        ("q=%25", []),
        ("q=_", []),
        ("q=%27%22%3Cscript%3E", []),
        ("q=ben&state=completed", ["bens"]),
        ("state=pending", ["scheduler", "ben"]),
        ("state=nonsense", ["bens", "ada", "scheduler", "cleo", "ben"]),
    ],
)
def test_a_search_finds_parts_of_names_and_types_in_any_case(
    ada: Browser, tasks: dict[str, int], query: str, found: list[str]
) -> None:
    assert listed(ada, f"?{query}", tasks) == found


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("created", ["ben", "cleo", "scheduler", "ada", "bens"]),
        ("-user", ["scheduler", "cleo", "bens", "ben", "ada"]),
        ("user", ["ada", "ben", "bens", "cleo", "scheduler"]),
        ("type", ["ben", "cleo", "bens", "ada", "scheduler"]),
        ("-type", ["scheduler", "ada", "bens", "cleo", "ben"]),
        ("status", ["cleo", "ben", "scheduler", "ada", "bens"]),
        ("-status", ["bens", "ada", "scheduler", "ben", "cleo"]),
        ("nonsense", ["bens", "ada", "scheduler", "cleo", "ben"]),
    ],
)
def test_every_column_sorts_both_ways_and_ties_go_by_id(
    ada: Browser, tasks: dict[str, int], sort: str, order: list[str]
) -> None:
    assert listed(ada, f"?sort={sort}", tasks) == order


@pytest.mark.parametrize("sort", ["-created", "created", "user", "-user", "type", "status", "-status"])
def test_older_and_newer_lead_through_all_pages_and_back(cast: Cast, ada: Browser, sort: str) -> None:
    ids = [rows.task(cast.acme, who, created_at=NOON) for who in (cast.ben, None, cast.cleo) * 20]
    forth, page = [], ada.get(f"/b/acme/tasks?size=25&sort={sort}")
    first = page.rows()
    while True:
        forth.append(page.rows())
        older = page.all("a", id_="page-older")
        if not older:
            break
        page = ada.get(str(older[0]["href"]))
    assert [len(one) for one in forth] == [25, 25, 10]
    assert sorted(id_ for one in forth for id_ in one) == sorted(ids)
    for expected in (forth[1], first):
        page = ada.get(str(page.all("a", id_="page-newer")[0]["href"]))
        assert page.rows() == expected
    assert not page.all("a", id_="page-newer")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("size", [25, 50, 100])
def test_pages_have_the_size_that_was_chosen_and_tell_how_many_match(cast: Cast, ada: Browser, size: int) -> None:
    with transaction() as session:
        session.add_all(
            Task(business_id=cast.acme.id, task_type="test.count", queue="default", payload={}) for _ in range(105)
        )
    page = ada.get(f"/b/acme/tasks?size={size}")
    assert len(page.rows()) == size
    assert f"{size} of 105" in page.text


def test_an_empty_table_says_so(ada: Browser) -> None:
    for query in ("", "?q=nobody"):
        page = ada.get(f"/b/acme/tasks{query}")
        assert "There are no tasks to show" in page.text
        assert page.rows() == []
    assert "Nothing matches" in page.text


def test_a_cursor_that_somebody_typed_gives_a_page(ada: Browser, tasks: dict[str, int]) -> None:
    typed = ["x", "W10", "WyJ4Iiwg", "WyJ4Iiwxxx", "MQ", "IiI", "W251bGwsMV0", "💣"]
    times = [
        "2026-11-01T12:00:00+00:00",
        "2026-11-01T12:00:00",
        "0001-01-01T00:00:00+23:00",
        "a",
        "\x00",
        "\ud800",
        1,
        2**40,
    ]
    places = itertools.product([*times, 10**20, True, 0.5, None, [], {}], [1, 10**20, True, 0.5, "1"])
    typed += [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in places]
    for sort, name in (("created", "after"), ("user", "before"), ("type", "after"), ("status", "after")):
        for cursor in typed:
            response = ada.raw("GET", f"/b/acme/tasks?sort={sort}&{name}={cursor}", headers=PART)
            assert response.status_code == 200, f"{name}={cursor}"


def test_a_waiting_task_under_a_pause_shows_as_paused_at_once(cast: Cast, ada: Browser, tasks: dict[str, int]) -> None:
    rows.pause(cast.acme, cast.ada, cast.ben, reason="floods the queue")
    assert listed(ada, "?state=paused", tasks) == ["ben"]
    assert listed(ada, "?state=pending", tasks) == ["scheduler"]
    assert "by Ada Lovelace: floods the queue" in ada.get("/b/acme/tasks?state=paused").text
    assert "by Ada Lovelace: floods the queue" in ada.htmx("/b/acme/tasks?state=paused").text


def test_what_people_typed_is_text_everywhere(cast: Cast, ada: Browser) -> None:
    nasty = "<img src=x onerror=alert(1)>"
    id_ = rows.task(cast.acme, cast.ben, "failed", title=nasty, cause=nasty, payload={"a": nasty})
    rows.entry(id_, cast.acme, nasty)
    rows.pause(cast.acme, cast.ada, cast.ben, reason=nasty)
    for path in ("tasks", f"tasks/{id_}", f"tasks/{id_}/deletion", "pauses", "pauses/resumption", "pauses/new"):
        page = ada.get(f"/b/acme/{path}")
        assert not page.all("img"), path
    search = ada.get("/b/acme/tasks?q=%22%3E%3Cimg%20src=x%3E")
    assert not search.all("img")


def test_the_details_tell_all_about_a_task(cast: Cast, ada: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben, "completed", title="Count the stock", payload={"times": 3, "big": 2**70})
    rows.entry(id_, cast.acme, "Counted shelf 7")
    page, part = ada.get(f"/b/acme/tasks/{id_}"), ada.htmx(f"/b/acme/tasks/{id_}")
    for words in ("Count the stock", "Completed", "Ben Ito", "Counted shelf 7", str(2**70), '"counted": 50'):
        assert words in page.text
        assert words in part.text
    assert part.roots[0][1]["id"] == "tasks-show"
    assert not _refreshes(part)
    assert _refreshes(ada.htmx(f"/b/acme/tasks/{rows.task(cast.acme, cast.ben)}"))


def test_the_details_tell_why_a_task_waits_to_its_user_too(cast: Cast, ben: Browser) -> None:
    id_ = rows.task(cast.acme, cast.ben)
    rows.pause(cast.acme, cast.ada, cast.ben, reason="vendor outage")
    for page in (ben.get(f"/b/acme/tasks/{id_}"), ben.get("/b/acme/background-tasks")):
        assert "vendor outage" in page.text
        assert "Paused" in page.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("tab", "states"),
    [
        ("", ["pending", "running", "paused"]),
        ("pending", ["pending", "running", "paused"]),
        ("failed", ["failed", "canceled"]),
        ("finished", ["completed"]),
        ("nonsense", ["pending", "running", "paused"]),
    ],
)
def test_background_tasks_are_ones_own_by_tab(cast: Cast, ada: Browser, tab: str, states: list[str]) -> None:
    every = ("pending", "running", "paused", "failed", "canceled", "completed")
    own = {state: rows.task(cast.acme, cast.ada, state) for state in every}
    for other in (rows.task(cast.acme, cast.ben), rows.task(cast.acme), rows.task(cast.globex, cast.ada)):
        assert other not in own.values()
    page, part = ada.get(f"/b/acme/background-tasks?tab={tab}"), ada.htmx(f"/b/acme/background-tasks?tab={tab}")
    assert sorted(page.rows()) == sorted(part.rows()) == sorted(own[state] for state in states)
    for words in ("Pending 3", "Failed 2", "Finished 1"):
        assert words in page.text


def test_an_empty_tab_says_so(ben: Browser) -> None:
    for tab in ("pending", "failed", "finished"):
        assert "There are no tasks to show" in ben.get(f"/b/acme/background-tasks?tab={tab}").text


def _refreshes(document: Document) -> bool:
    return any("every 1s" in str(a.get("hx-trigger")) for a in document.all("article"))
