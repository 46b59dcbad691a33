"""Ada chooses how often her lists renew themselves, and whether single keys count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenants.database import transaction
from tenants.models import User
from tests.factories import Cast
from tests.webapp.client import Browser

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
As = Callable[..., Browser]


def preferred(cast: Cast) -> dict[str, object]:
    """What the database knows of Ada's choices."""
    with transaction(read_only=True) as session:
        return session.get_one(User, cast.ada.user.id).preferences


def triggers(browser: Browser, path: str = "/b/acme/tasks") -> list[str]:
    """When the parts of a page renew themselves."""
    found = [str(a["hx-trigger"]) for _, a in browser.get(path).elements if "hx-trigger" in a]
    return [one for one in found if "-changed" in one and "aside" not in one]


def test_lists_renew_themselves_every_two_seconds_until_she_chooses(cast: Cast, ada: Browser) -> None:
    assert all("every 2s" in one for one in triggers(ada))
    answer = ada.act("/account/preferences", name="rate", value="15")
    assert '"preference-changed": {"name": "rate", "value": "15"}' in answer.headers["HX-Trigger"]
    assert all("every 15s" in one for one in triggers(ada))
    assert "every 15s" in str(ada.htmx("/b/acme/tasks").roots[0][1]["hx-trigger"])
    assert preferred(cast) == {"rate": "15"}


def test_never_means_that_nothing_asks_by_itself(cast: Cast, ada: Browser) -> None:
    ada.act("/account/preferences", name="rate", value="off")
    for path in ("/b/acme/tasks", "/b/acme/pauses", "/b/acme/background-tasks"):
        assert triggers(ada, path)
        assert not [one for one in triggers(ada, path) if "every" in one]


def test_her_choice_is_not_bens(cast: Cast, ada: Browser, ben: Browser) -> None:
    ada.act("/account/preferences", name="rate", value="60")
    assert all("every 2s" in one for one in triggers(ben, "/b/acme/background-tasks"))


def test_without_javascript_she_chooses_on_her_account_page(cast: Cast, ada: Browser) -> None:
    answer = ada.post("/account/preferences", name="rate", value="5")
    assert answer.location == "/account"
    assert ada.get("/account").all("option", value="5")[0].get("selected", "no") is None
    assert ada.post("/account/preferences", name="keys", value="off", next="/help/keys").location == "/help/keys"
    assert ada.post("/account/preferences", name="keys", value="on", next="//evil.example").location == "/account"


def test_single_keys_are_off_on_every_page_and_the_help_says_so(cast: Cast, ada: Browser) -> None:
    assert "data-keys" not in ada.get("/b/acme/tasks").all("body")[0]
    ada.act("/account/preferences", name="keys", value="off")
    assert ada.get("/b/acme/tasks").all("body", **{"data-keys": "off"})
    assert "Single keys are off." in ada.get("/help/keys").text
    assert ada.htmx("/help/keys").all("button", id_="keys-switch", value="on")


def test_columns_are_a_list(cast: Cast, ada: Browser) -> None:
    ada.act("/account/preferences", name="columns-tasks", value=["user", "queue"])
    assert preferred(cast) == {"columns-tasks": ["user", "queue"]}


@pytest.mark.parametrize(("name", "value"), [("rate", "0.1"), ("keys", "maybe"), ("colour", "pink"), ("", "")])
def test_a_choice_that_there_is_not_is_refused(cast: Cast, ada: Browser, name: str, value: str) -> None:
    ada.act("/account/preferences", 422, name=name, value=value)
    assert preferred(cast) == {}
