"""Polls that find nothing new: they are answered 304, without a body and mostly without rendering.

A fragment carries a tag, which comes back with its next poll. The tag's first half tells the data, its second half the
HTML, both of one user in one business at one address. The data alone decides while it is not older than a few seconds;
then the fragment is rendered and compared, since a template may show more than it was given.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import date, tzinfo
from hashlib import blake2b
from typing import Any

from flask import Response, g, make_response, render_template, request, session

from tenants.database import Base

TAG = "HX-PTag"
_RENDER_EVERY_SECONDS = 15
_PLAIN = (str, int, float, bool, bytes, date, tzinfo, type(None))


class _Opaque(Exception):
    """A value whose content cannot be told."""


def fragment(template: str, context: dict[str, Any]) -> Response:
    """The fragment with its tag, or 304 if the browser shows it already."""
    about = _about()
    asked, _, asked_html = request.headers.get(TAG, "").partition(".")
    data = _digest(about, int(time.time() / _RENDER_EVERY_SECONDS), _content(context))
    if asked == data:
        return _unchanged(f"{asked}.{asked_html}")
    html = render_template(template, **context)
    token = g.get("csrf_token")  # each rendering signs it anew
    tag = f"{data}.{_digest(about, html.replace(token, '') if token else html)}"
    if asked_html and tag.endswith(f".{asked_html}"):
        return _unchanged(tag)
    response = make_response(html)
    response.headers[TAG] = tag
    return response


def _unchanged(tag: str) -> Response:
    response = make_response("", 304)
    response.headers[TAG] = tag
    return response


def _about() -> tuple[Any, ...]:
    """Who looks at what, so that nobody is told that another's fragment has not changed."""
    login, actor = g.get("login"), g.get("actor")
    who = (login.user.id, login.user.name, login.user.time_zone, login.user.preferences) if login else None
    where = (actor.business.id, actor.business.name, actor.role) if actor else None
    return who, where, request.full_path, session.get("csrf_token")


def _content(context: Mapping[str, Any]) -> str:
    told: list[object] = []
    try:
        _tell(context, told, set())
    except _Opaque:
        return repr(time.time_ns())  # it is rendered, then
    return repr(told)


def _tell(value: Any, told: list[object], seen: set[int]) -> None:
    """Write down all that a value holds, as plain values. Of a row this is what was loaded."""
    if isinstance(value, _PLAIN):
        told.append(value)
    elif isinstance(value, Base):
        _tell_row(value, told, seen)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in vars(value).values():
            _tell(one, told, seen)
    elif isinstance(value, Mapping):
        told.append(len(value))
        for key, one in value.items():
            told.append(repr(key))
            _tell(one, told, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        told.append(len(value))
        for one in value:
            _tell(one, told, seen)
    else:
        raise _Opaque


def _tell_row(row: Base, told: list[object], seen: set[int]) -> None:
    if id(row) in seen:
        return
    seen.add(id(row))
    for name, value in vars(row).items():
        if isinstance(value, Base):
            _tell_row(value, told, seen)
        elif name != "_sa_instance_state":
            told.append(name)
            told.append(value)


def _digest(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()
