"""Polls that find nothing new: they are answered 304, without a body and mostly without rendering.

A fragment carries a tag, which comes back with its next poll. The tag's first half tells the data, its second half the
HTML, both of one user in one business at one address. The data alone decides while it is not older than a few seconds;
then the fragment is rendered and compared, since a template may show more than it was given. Whoever is not a poll need
not wait until the data is told: the first poll after it is rendered.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, make_response, render_template, request, session

from tenants.database import Base

TAG = "HX-PTag"
_RENDER_EVERY_SECONDS = 15
_PLAIN = frozenset({str, int, float, bool, bytes, date, datetime, ZoneInfo, type(None)})


class _Opaque(Exception):
    """A value whose content cannot be told."""


def fragment(template: str, context: dict[str, Any], *, is_poll: bool) -> Response:
    """The fragment with its tag, or 304 if the browser shows it already."""
    about = _about()
    asked, _, asked_html = request.headers.get(TAG, "").partition(".")
    data = _digest((about, int(time.time() / _RENDER_EVERY_SECONDS)), _content(context)) if is_poll else ""
    if is_poll and asked == data:
        return _unchanged(f"{asked}.{asked_html}")
    html = render_template(template, **context)
    token = g.get("csrf_token")  # each rendering signs it anew
    tag = f"{data}.{_digest(about, (html.replace(token, '') if token else html).encode())}"
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


def _content(context: Mapping[str, Any]) -> bytes:
    told: list[object] = []
    try:
        _tell(context, told, set())
        return pickle.dumps(told)  # a third of the time that repr takes; nobody ever loads it
    except (_Opaque, pickle.PicklingError):
        return str(time.time_ns()).encode()  # it is rendered, then


def _tell(value: Any, told: list[object], seen: set[int]) -> None:
    """Write down all that a value holds, as plain values. Of a row this is what was loaded."""
    if type(value) in _PLAIN:
        told.append(value)
    elif isinstance(value, str):
        told.append(str(value))
    elif isinstance(value, Base):
        _tell_row(value, told, seen)
    elif isinstance(value, list | tuple | set | frozenset | Mapping) or is_dataclass(value):
        parts = _parts(value)
        told.append(len(parts))
        for one in parts:
            _tell(one, told, seen)
    else:
        raise _Opaque


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    return list(vars(value).values() if is_dataclass(value) else value)


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


def _digest(about: tuple[Any, ...], content: bytes) -> str:
    return blake2b(repr(about).encode() + content, digest_size=12).hexdigest()
