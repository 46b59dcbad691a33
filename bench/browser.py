"""A browser as far as servers can tell: one connection, cookies, one request after the other. The same for all."""

from __future__ import annotations

import gzip
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from bench.starts import Void

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Asked:
    """A request: a GET, or a POST when there is a form."""

    path: str
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The text, and the milliseconds from the first byte sent to the last one read."""

    text: str
    took_ms: float


class Browser:
    """Somebody who looks at the pages of one server of this machine."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
        self._cookies = SimpleCookie()

    def ask(self, asked: Asked, status: int = 200) -> Answer:
        """One answer; Void when it is another one than the expected."""
        body = urlencode(asked.form).encode() if asked.form is not None else None
        headers = {**self._headers(is_form=body is not None), **asked.headers}
        try:
            began = time.perf_counter()
            self._connection.request("GET" if body is None else "POST", asked.path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
            took = time.perf_counter() - began
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Void(f"{asked.path}: {error!r}") from error
        if response.status != status:
            raise Void(f"{asked.path}: {response.status} {response.reason}")
        self._remember(response)
        packed = response.getheader("Content-Encoding") == "gzip"
        return Answer((gzip.decompress(content) if packed else content).decode(), took * 1000)

    def is_answered(self, path: str) -> bool:
        """Whether the server is up."""
        try:
            self.ask(Asked(path))
        except Void:
            return False
        return True

    def _headers(self, *, is_form: bool) -> dict[str, str]:
        cookies = "; ".join(f"{name}={one.value}" for name, one in self._cookies.items())
        given = {"Accept-Encoding": "gzip, deflate", "Cookie": cookies}
        if is_form:
            given["Content-Type"] = "application/x-www-form-urlencoded"
        return {name: value for name, value in given.items() if value}

    def _remember(self, response: http.client.HTTPResponse) -> None:
        for one in response.headers.get_all("Set-Cookie", []):
            self._cookies.load(one)
