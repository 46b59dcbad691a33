"""Links of templates: `url_for` of pages with hundreds of links that differ by an id only."""

from __future__ import annotations

from typing import Any

from flask import Flask, g, url_for

_STAND_IN = 9_007_199_254_740_000  # for the numbers of a link: no id or size is near it


def init_app(app: Flask) -> None:
    """Templates use `link` by the name of url_for."""
    app.jinja_env.globals["url_for"] = link


def link(endpoint: str, **values: Any) -> str:
    """What `url_for` says. A request asks it once for all links that differ by numbers only: much faster."""
    numbers = [name for name, value in values.items() if type(value) is int]
    shape = (endpoint, *(name if name in numbers else (name, value) for name, value in values.items()))
    known: dict[Any, str] = g.setdefault("links", {})
    url = known.get(shape)
    if url is None:
        stand_ins = {name: _STAND_IN + place for place, name in enumerate(numbers)}
        url = known[shape] = url_for(endpoint, **{**values, **stand_ins})
    for place, name in enumerate(numbers):
        url = url.replace(str(_STAND_IN + place), str(values[name]))
    return url
