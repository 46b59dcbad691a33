"""A row of a table tells of its own task, though rows of one shape share what they were made from."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import PART, Browser

PAGES = ("tasks", "active", "history")


def shown(browser: Browser, page: str) -> dict[int, str]:
    """The HTML of each row of a page, by the id of its task."""
    html = browser.raw("GET", page, headers=PART).get_data(as_text=True)
    return {int(id_): row for id_, row in re.findall(r'<tr id="task-(\d+)"[^>]*>(.*?)</tr>', html, re.DOTALL)}


def said(row: str) -> str:
    """What people read in it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split())


def test_rows_that_look_alike_tell_each_of_their_own(cast: Cast, ada: Browser) -> None:
    bens = rows.task(cast.acme, cast.ben, title="Count the bolts", attempts=1, max_attempts=3, priority=10)
    cleos = rows.task(cast.acme, cast.cleo, title="Sum the nuts", attempts=2, max_attempts=4, priority=11)
    html = shown(ada, "/b/acme/active")
    for id_, name, words in ((bens, "Ben Ito", "Count the bolts"), (cleos, "Cleo Marsh", "Sum the nuts")):
        assert f"#{id_}" in said(html[id_])
        assert name in said(html[id_])
        assert words in said(html[id_])
        assert set(re.findall(r"/b/acme/tasks/(\d+)", html[id_])) == {str(id_)}
    assert "1 of 3" in said(html[bens])
    assert "2 of 4" in said(html[cleos])
    assert 'title="10"' in html[bens]
    assert 'title="11"' in html[cleos]
    people = shown(ada, "/b/acme/tasks")
    assert f"?user={cast.ben.user.id}" in people[bens]
    assert f"?user={cast.cleo.user.id}" in people[cleos]


@pytest.mark.parametrize("path", PAGES)
def test_what_people_typed_is_shown_as_they_typed_it(cast: Cast, ada: Browser, path: str) -> None:
    typed = "{user_name} {0} {{id}} {! <b>&amp;</b> %s"
    state = "completed" if path == "history" else "pending"
    id_ = rows.task(cast.acme, cast.ben, state, title=typed)
    assert typed in said(shown(ada, f"/b/acme/{path}")[id_])
    assert "<b>" not in shown(ada, f"/b/acme/{path}")[id_]


def test_a_pause_is_told_where_it_holds(cast: Cast, ada: Browser) -> None:
    bens, cleos = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.cleo)
    rows.pause(cast.acme, cast.ada, user=cast.ben, reason="{reason} too many")
    html = shown(ada, "/b/acme/tasks")
    assert "by Ada Lovelace: {reason} too many" in said(html[bens])
    assert "too many" not in html[cleos]
    rows.pause(cast.acme, cast.ada, user=cast.cleo, reason="on leave")
    html = shown(ada, "/b/acme/tasks")
    assert "on leave" in said(html[cleos])
    assert "on leave" not in html[bens]


def test_rows_of_two_businesses_lead_each_into_their_own(cast: Cast, ada: Browser) -> None:
    here, there = rows.task(cast.acme, cast.ada), rows.task(cast.globex, cast.ada)
    assert f"/b/acme/tasks/{here}" in shown(ada, "/b/acme/tasks")[here]
    assert f"/b/globex/tasks/{there}" in shown(ada, "/b/globex/tasks")[there]
    assert "/b/acme/" not in shown(ada, "/b/globex/tasks")[there]


def test_progress_and_cause_are_of_one_task(cast: Cast, ada: Browser) -> None:
    runs = rows.task(cast.acme, cast.ben, "running", progress_done=1_500, progress_total=20_000)
    also = rows.task(cast.acme, cast.ben, "running", progress_done=3, progress_total=4)
    failed = rows.task(cast.acme, cast.ben, "failed", cause="Timeout {note}")
    html = shown(ada, "/b/acme/tasks")
    assert "1,500 of 20,000" in said(html[runs])
    assert "3 of 4" in said(html[also])
    assert "Timeout {note}" in said(html[failed])
