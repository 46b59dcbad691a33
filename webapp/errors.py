"""Errors as answers: each kind has one status, told as a page, a fragment or problem JSON."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, jsonify, request
from flask_limiter import RateLimitExceeded
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed

from tenants import audit
from tenants.database import transaction
from tenants.errors import Conflict, Invalid, NotAllowed, NotFound, SluiceError, TooMuch
from webapp import db, htmx
from webapp.security import limiter

log = structlog.get_logger()

_KINDS: dict[type[SluiceError], int] = {NotFound: 404, NotAllowed: 403, Conflict: 409, Invalid: 422, TooMuch: 429}
_TITLES = {
    400: "This request was not understood",
    401: "Log in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    409: "Changed in the meantime",
    413: "Too large",
    415: "Wrong format",
    422: "Not valid",
    429: "Too many requests",
    500: "Something went wrong",
}
_MESSAGES = {
    400: "The form may be too old. Reload the page and try again.",
    404: NotFound().message,
    405: "This address does not take such a request.",
    413: "A request has 1 MB at most.",
    415: "Send JSON, with the content type application/json.",
    429: TooMuch().message,
    500: "It is our fault, and it was noted. Try again in a minute.",
}


class NotJson(BadRequest):
    """A program sent what cannot be read."""

    description = "This is not JSON."


def init_app(app: Flask) -> None:
    """Answer every error."""
    app.register_error_handler(SluiceError, _on_ours)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_surprise)


def status_of(error: SluiceError) -> int:
    """The status of an error's kind."""
    return next((status for kind, status in _KINDS.items() if isinstance(error, kind)), 500)


def problem(status: int, message: str, field: str | None = None) -> Response:
    """An error for programs (RFC 9457)."""
    body = {"type": "about:blank", "status": status, "title": _TITLES.get(status, "Error"), "detail": message}
    response = jsonify({**body, **({"field": field} if field else {})})
    response.status_code, response.mimetype = status, "application/problem+json"
    return response


def _on_ours(error: SluiceError) -> Response:
    if isinstance(error, NotAllowed) and "actor" in g and not db.is_safe():
        _note_refusal()
    return _answer(status_of(error), error.message, error.field)


def _on_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        return _on_surprise(error)
    own = error.description if isinstance(error, NotJson) else None
    response = _answer(status, own or _MESSAGES.get(status, error.description or error.name))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    if isinstance(error, RateLimitExceeded) and limiter.current_limit:
        response.headers["Retry-After"] = str(max(1, int(limiter.current_limit.reset_at - time.time())))
    return response


def _on_surprise(error: Exception) -> Response:
    """A 500 asks the database nothing more, since that may be what is broken."""
    log.error("request failed", exc_info=getattr(error, "original_exception", None) or error, path=request.path)
    g.is_broken = True
    return _face(500, _MESSAGES[500])


def _note_refusal() -> None:
    db.drop()  # the note takes SQLite's write lock, so this request must let go of it
    with transaction() as own:
        audit.record_refused(own, g.actor, request.endpoint or "", request.path)


def _answer(status: int, message: str, field: str | None = None) -> Response:
    db.start_over()
    return _face(status, message, field)


def _face(status: int, message: str, field: str | None = None) -> Response:
    if request.path.startswith("/api/"):
        return problem(status, message, field)
    title = _TITLES.get(status, "Error")
    return htmx.page(
        "errors/error.html", fragment="errors/_error.html", status=status, code=status, title=title, message=message
    )
