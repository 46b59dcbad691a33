"""What every answer carries, static files and errors included; and the limiter of logins."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.headers import Headers

import structlog
from flask import Flask, Response, abort, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.storage import MemoryStorage
from whitenoise import WhiteNoise

from config import Config
from webapp.packing import pack
from webapp.settings import settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "
)
CSP = f"{_POLICY}'none'"
_ALWAYS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # not no-referrer: over HTTPS the CSRF check compares the referrer
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FRAMED = re.compile(r"/b/[^/]+/background-tasks/embed")  # errors there, too
_VERSIONED = re.compile(r"/static/.*-\d+(\.\d+)+/")
_KEPT = ("/static/", "/embed.js")

limiter = Limiter(get_remote_address)


def init_app(app: Flask) -> None:
    """Serve static files, and harden every answer."""
    limiter.init_app(app)
    app.before_request(_refuse_nul)
    files = WhiteNoise(
        app.wsgi_app,
        max_age=3600,
        autorefresh=app.debug,
        allow_all_origins=False,
        immutable_file_test=lambda _path, url: bool(_VERSIONED.match(url)),
    )
    files.add_files(str(STATIC), prefix="static/")
    app.add_url_rule("/static/<path:filename>", "static", build_only=True)  # WhiteNoise answers, Flask only links
    with app.app_context():
        hardened = _harden(pack(files), settings())
    setattr(app, "wsgi_app", hardened)  # noqa: B010 - mypy forbids to assign a method


def limiter_storage(redis_url: str) -> str:
    """The address of Redis as Flask-Limiter writes it."""
    return f"redis+{redis_url}" if redis_url.startswith("unix:") else redis_url


def take_back() -> None:
    """Uncount this request at the limits that counted it: the newest entry of each window goes."""
    storage: Any = limiter.limiter.storage
    for one in limiter.current_limits:
        if one.breached:  # then it was not counted
            continue
        try:
            _drop_newest(storage, one.key)
        except storage.base_exceptions as error:
            log.warning("a request stays counted", error=str(error))


def _drop_newest(storage: Any, key: str) -> None:
    """The libraries count only upwards. Any entry is as good as another: they are moments apart."""
    if isinstance(storage, MemoryStorage):
        with storage.locks[key]:
            del storage.events.get(key, [])[:1]
    else:
        storage.get_connection().lpop(storage.prefixed_key(key))


def _harden(inner: WSGIApplication, config: Config) -> WSGIApplication:
    """Outside of everything, so that no answer gets by."""
    always = _ALWAYS | ({"Strict-Transport-Security": "max-age=31536000"} if config.cookie_secure else {})

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        def start(status: str, headers: list[tuple[str, str]], *exc: Any) -> Callable[[bytes], object]:
            found = Headers(headers)
            own = _for_hosts(environ["PATH_INFO"], config.embed_origins)
            for name, value in {**always, **own, "X-Request-ID": request_id}.items():
                found[name] = value
            if not environ["PATH_INFO"].startswith(_KEPT) or "Cache-Control" not in found:
                found["Cache-Control"] = "no-store"
            return start_response(status, headers, *exc)

        return inner(environ, start)

    return app


def is_framed(path: str) -> bool:
    """Whether this is the page that host applications show in a frame: no other page can be led to there."""
    return bool(_FRAMED.fullmatch(path))


def share_with_hosts(response: Response) -> Response:
    """Let the scripts of host applications read this answer, with the login of whoever is at the browser."""
    response.vary.add("Origin")
    if (origin := request.headers.get("Origin")) in settings().embed_origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
    return response


def _for_hosts(path: str, origins: Sequence[str]) -> dict[str, str]:
    """What may be in the pages of others: the script, which tells nothing, anywhere; the frame where it is allowed."""
    if origins and path == "/embed.js":
        return {"Cross-Origin-Resource-Policy": "cross-origin"}
    if origins and is_framed(path):
        return {"Content-Security-Policy": _POLICY + " ".join(origins)}
    return {}


def _refuse_nul() -> None:
    """No database takes a NUL character, and no person types one."""
    if any("\x00" in text for pairs in (request.args, request.form) for one in pairs.items(multi=True) for text in one):
        abort(400)
