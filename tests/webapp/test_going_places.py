"""The Admin menu, the business switcher and the command palette offer what there is, and nothing foreign."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenants import businesses, members
from tenants.database import transaction
from tenants.models import Role
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]


def links(page: Document, menu: str) -> dict[str, str]:
    """The addresses of a menu, by their text."""
    inside = page.response.text.partition(f'aria-label="{menu}"')[2].partition("</nav>")[0]
    found = [one.partition("</a>")[0] for one in inside.split("<a ")[1:]]
    texts = [one.partition(">")[2].replace("</span>", "").rpartition(">")[2] for one in found]
    return dict(zip(texts, (one.partition('href="')[2].partition('"')[0] for one in found), strict=True))


def choices(browser: Browser, q: str = "", business: str = "acme") -> dict[str, str]:
    """What the palette offers for some words: the texts with their addresses."""
    part = browser.htmx(f"/b/{business}/palette?q={q}")
    texts = [one.partition("</span>")[0] for one in part.response.text.split('<span class="cut">')[1:]]
    return dict(zip(texts, (str(a["href"]) for a in part.all("a", role="option")), strict=True))


def test_the_admin_menu_leads_to_every_page_that_there_is(cast: Cast, ada: Browser, as_user: As) -> None:
    here = list(links(ada.get("/b/acme/tasks"), "Admin").values())
    assert here[0] == "/b/acme/tasks"
    assert {"/b/acme/pauses", "/b/acme/audit"} <= set(here)
    for path in here:
        ada.get(path)
    otto = as_user(rows.auditor(cast.acme))
    there = links(otto.get("/b/acme/tasks"), "Admin").values()
    assert list(there) == here, "whoever audits sees what an admin sees, who did what above all"
    for path in there:
        otto.get(path)


@pytest.mark.parametrize(
    ("at", "to"),
    [
        ("tasks", "/b/globex/tasks"),
        ("tasks?state=failed&sort=user&after=abc", "/b/globex/tasks?state=failed&amp;sort=user"),
        ("pauses", "/b/globex/pauses"),
        ("pauses/new?of=user&users=1", "/b/globex/pauses"),
        ("background-tasks?tab=failed", "/b/globex/background-tasks?tab=failed"),
    ],
)
def test_switching_keeps_the_page_and_drops_ids_and_cursors(cast: Cast, ada: Browser, at: str, to: str) -> None:
    text = ada.get(f"/b/acme/{at}").response.text
    assert f'href="{to}"' in text


def test_switching_from_a_task_leads_to_the_tasks_of_the_other_business(cast: Cast, ada: Browser) -> None:
    page = ada.get(f"/b/acme/tasks/{rows.task(cast.acme, cast.ben)}")
    assert page.all("a", href="/b/globex/tasks")


def test_switching_to_where_one_is_a_member_leads_to_ones_own_tasks(cast: Cast, as_user: As) -> None:
    with transaction() as session:
        members.add(session, cast.initech, cast.ada.user, Role.MEMBER)
    page = as_user("ada").get("/b/acme/tasks")
    assert page.all("a", href="/b/globex/tasks")
    assert page.all("a", href="/b/initech/")
    assert as_user("ada").get("/b/acme/background-tasks").all("a", href="/b/initech/background-tasks")


def test_from_eight_businesses_on_the_switcher_has_a_search_field(cast: Cast, as_user: As) -> None:
    assert not as_user("root").get("/b/acme/tasks").all("input", id_="switcher-q")
    with transaction() as session:
        for number in range(5):
            businesses.create(session, f"more-{number}", f"More {number}")
    assert as_user("root").get("/b/acme/tasks").all("input", id_="switcher-q")
    assert not as_user("ada").get("/b/acme/tasks").all("input", id_="switcher-q")


def test_the_palette_offers_pages_acts_and_the_other_businesses(cast: Cast, ada: Browser) -> None:
    found = choices(ada)
    assert found["Async Tasks"] == "/b/acme/tasks"
    assert found["Pause Task Type"] == "/b/acme/pauses/new?of=type"
    assert found["Globex"] == "/b/globex/"
    assert list(choices(ada, "pause")) == ["Pauses", "Pause User", "Pause Task Type", "Search tasks for “pause”"]
    for path in found.values():
        ada.raw("GET", path.replace("&amp;", "&")).close()


def test_the_palette_finds_a_task_by_its_number(cast: Cast, ada: Browser) -> None:
    mine = rows.task(cast.acme, cast.ben, "failed", title="Count the stock")
    for typed in (str(mine), f"%23{mine}"):
        assert choices(ada, typed)[f"Task #{mine}: Count the stock"] == f"/b/acme/tasks/{mine}"


def test_the_palette_finds_people_and_searches_tasks(cast: Cast, ada: Browser) -> None:
    assert choices(ada, "ito")["Tasks of Ben Ito"] == f"/b/acme/tasks?user={cast.ben.user.id}"
    assert next(iter(choices(ada, "ada"))) == "Search tasks for “ada”"
    assert choices(ada, "ada")["Search tasks for “ada”"] == "/b/acme/tasks?q=ada"


def test_the_palette_knows_nothing_foreign(cast: Cast, ada: Browser) -> None:
    foreign = rows.task(cast.initech, cast.zoe, title="Staplers")
    for q in (str(foreign), "zoe", "winter", "staplers", "initech"):
        found = choices(ada, q)
        assert [one for one in found if not one.startswith("Search tasks")] == [], q
    missing = [one.replace("424242", str(foreign)) for one in choices(ada, "424242")]
    assert list(choices(ada, str(foreign))) == missing


def test_ben_finds_only_what_he_may(cast: Cast, ben: Browser) -> None:
    own, cleos = rows.task(cast.acme, cast.ben), rows.task(cast.acme, cast.cleo)
    found = choices(ben)
    assert not {"Async Tasks", "Pauses", "Audit log", "Pause User", "Resume All"} & set(found)
    assert "Background-Tasks" in found
    assert list(choices(ben, "cleo")) == []
    assert len(choices(ben, str(own))) == 1
    assert choices(ben, str(cleos)) == {}


def test_an_auditor_finds_no_act_that_writes(cast: Cast, as_user: As) -> None:
    found = choices(as_user(rows.auditor(cast.acme)))
    assert "Async Tasks" in found
    assert not {"Pause User", "Pause Task Type", "Resume All"} & set(found)


@pytest.mark.parametrize("q", ["%23", "9" * 30, "²", "<b>", "%25", "_", "\\", "%F0%9F%99%82", " "])
def test_odd_words_break_nothing(cast: Cast, ada: Browser, q: str) -> None:
    ada.htmx(f"/b/acme/palette?q={q}")
    ada.get(f"/b/acme/palette?q={q}")


def test_without_javascript_the_palette_is_a_page_of_links(cast: Cast, ada: Browser) -> None:
    page = ada.get("/b/acme/palette?q=pause")
    assert page.all("a", href="/b/acme/pauses/new?of=user")
    assert not page.all("a", role="option")
    assert page.all("a", href="/b/acme/palette")
