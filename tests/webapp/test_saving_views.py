"""Saved views: a list under a name, for oneself or for the whole business."""

from __future__ import annotations

from collections.abc import Callable

from tenants import members
from tenants.database import transaction
from tenants.models import Role
from tests.factories import Cast
from tests.webapp import rows
from tests.webapp.client import Browser, Document


def test_ada_finds_the_list_that_she_saved(cast: Cast, ada: Browser) -> None:
    failed, _ = rows.task(cast.acme, cast.ben, "failed"), rows.task(cast.acme, cast.ben)
    ada.act("/b/acme/views", name="Ben's failures", view="all", q="user:ben", state="failed", sort="user", columns="")
    links = [one["href"] for one in ada.get("/b/acme/tasks").all("a") if "state=failed&" in f"{one.get('href')}&"]
    saved = next(one for one in links if "user:ben" in str(one) or "user%3Aben" in str(one))
    assert ada.get(str(saved)).rows() == [failed]


def test_saving_under_the_same_name_replaces_it(ada: Browser) -> None:
    for state in ("failed", "completed"):
        ada.act("/b/acme/views", name="Mine", view="all", state=state)
    assert len(_named(ada.get("/b/acme/tasks"), "Mine")) == 1


def test_a_view_is_ones_own_until_it_is_shared(cast: Cast, ada: Browser, as_user: Callable[..., Browser]) -> None:
    with transaction() as session:
        members.add(session, cast.acme, cast.cleo.user, Role.ADMIN)
    cleo = as_user("cleo")
    ada.act("/b/acme/views", name="Mine", view="all")
    assert not _named(cleo.get("/b/acme/tasks"), "Mine")
    ada.act("/b/acme/views", name="Ours", view="all", shared=1)
    assert _named(cleo.get("/b/acme/tasks"), "Ours")
    assert not _named(cleo.get("/b/acme/history"), "Ours")
    assert not _named(ada.get("/b/globex/tasks"), "Ours")


def test_a_view_can_be_removed(ada: Browser) -> None:
    ada.act("/b/acme/views", name="Mine", view="all")
    view = next(one for one in ada.get("/b/acme/tasks").ids if one.startswith("view-"))
    ada.act(f"/b/acme/views/{view.removeprefix('view-')}/deletion")
    assert not _named(ada.get("/b/acme/tasks"), "Mine")
    ada.act(f"/b/acme/views/{view.removeprefix('view-')}/deletion", 404)


def test_a_view_needs_a_name(ada: Browser) -> None:
    for name in ("", "   ", "x" * 61):
        part = Document(ada.act("/b/acme/views", 422, name=name, view="all"))
        assert part.all("input", name="name", aria_invalid="true") or "name" in part.text


def test_auditors_open_shared_views_and_save_none(cast: Cast, ada: Browser, as_user: Callable[..., Browser]) -> None:
    ada.act("/b/acme/views", name="Ours", view="history", shared=1)
    otto = as_user(rows.auditor(cast.acme))
    page = otto.get("/b/acme/history")
    assert _named(page, "Ours")
    assert "Save this view" not in page.text
    otto.act("/b/acme/views", 403, name="Mine", view="history")


def test_members_have_no_views(ben: Browser) -> None:
    ben.get("/b/acme/views/new", 403)
    ben.post("/b/acme/views", 403, name="Mine", view="all")


def _named(page: Document, name: str) -> list[str]:
    return [one for one in page.words if one.strip() == name]
