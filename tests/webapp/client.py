"""A browser for tests: it fetches pages and fragments, and checks each one that it gets."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from webapp.security import CSP

PART = {"HX-Request": "true", "HX-Request-Type": "partial"}
_VOID = set("area base br col embed hr img input link meta source track wbr use rect path".split())


class Document(HTMLParser):
    """A page or fragment as parsed: its elements, their attributes and all its text."""

    def __init__(self, response: TestResponse) -> None:
        super().__init__()
        self.response = response
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.roots: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(response.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = tag, dict(attrs)
        self.elements.append(element)
        if not self._open:
            self.roots.append(element)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """What people read, on one line."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of each such element; `id_` means id."""
        pairs = {name.rstrip("_"): value for name, value in wanted.items()}
        return [a for t, a in self.elements if t == tag and all(a.get(n) == v for n, v in pairs.items())]

    @property
    def ids(self) -> list[str]:
        """Every id, in order."""
        return [str(a["id"]) for _, a in self.elements if "id" in a]

    def rows(self) -> list[int]:
        """The ids of the tasks that it lists, in order, in a list of all or of one's own."""
        names = [one.removeprefix("task-").removeprefix("own-") for one in self.ids]
        return [int(one) for one in names if one.isdigit()]


class Browser:
    """Somebody at a browser. `get` wants a page, `htmx` a fragment; `post` and `act` are their writes."""

    def __init__(self, app: Flask, token: str | None = None) -> None:
        self._client = app.test_client()
        if token:
            with self._client.session_transaction() as session:
                session["_user_id"] = token

    def get(self, path: str, status: int = 200, **headers: str) -> Document:
        """A whole page, checked."""
        response = self._client.get(path, headers=headers)
        assert response.status_code == status, f"{path}: {response.status}"
        page = Document(response)
        if status not in (302, 303):
            check(page)
            assert len(page.all("h1")) == 1, f"{path}: one h1"
            assert len(page.all("title")) == 1
            assert page.all("main", id_="main")
        return page

    def htmx(self, path: str, status: int = 200, **headers: str) -> Document:
        """A fragment, checked."""
        response = self._client.get(path, headers=PART | headers)
        assert response.status_code == status, f"{path}: {response.status}"
        fragment = Document(response)
        check(fragment)
        assert not fragment.all("html"), f"{path}: a part of a page"
        assert len(fragment.roots) == 1, f"{path}: one root"
        return fragment

    def post(self, path: str, status: int = 303, **form: Any) -> TestResponse:
        """Send a form without JavaScript."""
        response = self._client.post(path, data={"csrf_token": self.csrf(), **form})
        assert response.status_code == status, f"{path}: {response.status} {Document(response).text[-500:]}"
        return response

    def act(self, path: str, status: int = 204, *, headers: dict[str, str] | None = None, **form: Any) -> TestResponse:
        """Send a form with htmx."""
        response = self._client.post(path, data=form, headers=PART | {"X-CSRFToken": self.csrf()} | (headers or {}))
        assert response.status_code == status, f"{path}: {response.status} {Document(response).text[-500:]}"
        return response

    def send_json(self, path: str, body: Any, status: int = 201) -> Any:
        """Send JSON as a program would, with the browser's login."""
        response = self._client.post(path, json=body, headers={"X-CSRFToken": self.csrf()})
        assert response.status_code == status, f"{path}: {response.status} {response.text}"
        return response.json

    def raw(self, method: str, path: str, **how: Any) -> TestResponse:
        """Any request, unchecked."""
        return self._client.open(path, method=method, **how)

    def csrf(self) -> str:
        """The token of this session."""
        for path in ("/account", "/login"):
            response = self._client.get(path)
            if response.status_code == 200:
                return str(Document(response).all("meta", name="csrf-token")[0]["content"])
        raise AssertionError("no page has a CSRF token")


def policy(path: str) -> str:
    """What browsers are told about a page. Only one kind of page may be framed, and only by the tests' host."""
    may_be_framed = path.startswith("/b/") and path.endswith("/background-tasks/embed")
    return CSP.removesuffix("'none'") + "https://shop.example.com" if may_be_framed else CSP


def check(document: Document) -> None:
    """What must be true of everything that people get to see."""
    path = document.response.request.path
    assert document.response.headers["Content-Security-Policy"] == policy(path)
    twice = [one for one, number in Counter(document.ids).items() if number > 1]
    assert not twice, f"{path}: ids {twice} stand twice"
    labelled = {str(a["for"]) for a in document.all("label") if "for" in a}
    assert labelled <= set(document.ids), f"{path}: labels of nothing: {labelled - set(document.ids)}"
    tokens = len([a for _, a in document.elements if a.get("name") == "csrf_token"])
    forms = [a for a in document.all("form") if str(a.get("method", "")).lower() == "post"]
    assert tokens >= len(forms), f"{path}: every form that writes has a token"
    for tag, attributes in document.elements:
        assert "style" not in attributes, f"{path}: inline style"
        assert not [a for a in attributes if a.startswith(("on", "hx-on"))], f"{path}: inline script in {tag}"
        assert tag != "script" or "src" in attributes, f"{path}: inline script"
