"""The two faces of a view: a page for browsers, a fragment for htmx."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, flash, g, make_response, redirect, render_template, request

from webapp import freshness

_VARY = ("HX-Request", "HX-Request-Type", "Cookie")


def init_app(app: Flask) -> None:
    """Tell caches that one address has two answers."""

    @app.after_request
    def vary(response: Response) -> Response:
        response.vary.update(_VARY)
        return response


def is_htmx() -> bool:
    """Whether htmx asks, be it for a part or for a page."""
    return request.headers.get("HX-Request") == "true"


def is_partial() -> bool:
    """Whether htmx asks for a part of a page."""
    return (
        is_htmx()
        and request.headers.get("HX-Request-Type") != "full"
        and "HX-History-Restore-Request" not in request.headers
    )


def is_poll() -> bool:
    """Whether a part of a page refreshes itself, without anybody having clicked."""
    source = request.headers.get("HX-Source")
    return is_partial() and source is not None and source == request.headers.get("HX-Target")


def target() -> str:
    """The id of the element that htmx will replace."""
    return request.headers.get("HX-Target", "").rpartition("#")[2]


def page(
    template: str,
    fragment: str | None = None,
    *,
    status: int = 200,
    around: Callable[[], dict[str, Any]] | None = None,
    **context: Any,
) -> Response:
    """The page, or only the fragment when htmx asks for a part. `around` tells what just the page needs.

    A fragment that the browser shows already is answered 304.
    """
    g.is_fragment = bool(fragment) and is_partial()
    if fragment and g.is_fragment:
        if status == 200 and request.method == "GET":
            return freshness.fragment(fragment, context, is_poll=is_poll())
        return make_response(render_template(fragment, **context), status)
    if around:
        context |= around()
    return make_response(render_template(template, **context), status)


def done(message: str, *events: str, to: str, href: str | None = None, undo: str | None = None) -> Response:
    """A write is done. htmx gets the events and a toast, a plain request goes on to `to` and sees the message there.

    The toast may link to `href`; its Undo sends a POST to `undo`.
    """
    about = {name: url for name, url in (("href", href), ("undo", undo)) if url}
    if not is_htmx():
        note: Any = {"message": message, **about}  # the cookie takes any JSON
        flash(note, "success")
        return _see_other(to)
    toast = {"message": message, "level": "success", **about}
    response = make_response("", 204)
    response.headers["HX-Trigger"] = json.dumps({**dict.fromkeys(events, ""), "toast": toast})
    return response


def kept(name: str, value: Any, *, to: str) -> Response:
    """A preference is kept. The page adapts to it by itself: no toast."""
    if not is_htmx():
        return _see_other(to)
    response = make_response("", 204)
    response.headers["HX-Trigger"] = json.dumps({"preference-changed": {"name": name, "value": value}})
    return response


def leave(to: str) -> Response:
    """Go on to another page."""
    if not is_htmx():
        return _see_other(to)
    response = make_response("", 204)
    response.headers["HX-Redirect"] = to
    return response


def _see_other(to: str) -> Response:
    return make_response(redirect(to, 303))
