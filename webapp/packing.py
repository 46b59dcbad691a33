"""Our own scripts and style sheets leave compressed, too.

WhiteNoise does so for files with a compressed twin only: vendored files have one, files that people edit have not.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.headers import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_KINDS = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")


def pack(inner: WSGIApplication) -> WSGIApplication:
    """Compress each static file once, and remember it until it changes."""
    packed: dict[str, tuple[str, bytes]] = {}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        wanted = "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and environ["REQUEST_METHOD"] == "GET"
        if not wanted or not path.startswith("/static/"):
            return inner(environ, start_response)
        answer: list[Any] = []

        def start(*given: Any) -> Callable[[bytes], object]:
            answer[:] = given
            return bytes  # nobody writes: WhiteNoise and Flask answer with an iterable

        body = inner(environ, start)
        status, found = answer[0], Headers(answer[1])
        if status[:3] != "200" or "Content-Encoding" in found or not _is_text(found):
            start_response(*answer)
            return body
        version = found.get("ETag") or found.get("Last-Modified") or ""
        if not version or packed.get(path, ("", b""))[0] != version:
            packed[path] = version, gzip.compress(b"".join(body), 9, mtime=0)
        getattr(body, "close", lambda: None)()
        found["Content-Encoding"] = "gzip"
        found["Content-Length"] = str(len(packed[path][1]))
        found["Vary"] = "Accept-Encoding"
        start_response(*answer)
        return [packed[path][1]]

    return app


def _is_text(headers: Headers) -> bool:
    return (headers.get("Content-Type") or "").partition(";")[0] in _KINDS
