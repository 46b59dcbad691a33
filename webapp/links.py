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
    shape = (endpoint, *(name if type(value) is int else (name, value) for name, value in values.items()))
    known: dict[Any, str] = g.setdefault("links", {})
    if shape not in known:
        known[shape] = _pattern(endpoint, values)
    return known[shape].format_map(values)


def _pattern(endpoint: str, values: dict[str, Any]) -> str:
    """The link with the names of its numbers in braces, which no link has otherwise: they would be quoted."""
    numbers = [name for name, value in values.items() if type(value) is int]
    stand_ins = {name: _STAND_IN + place for place, name in enumerate(numbers)}
    url = url_for(endpoint, **{**values, **stand_ins})
    for name, stand_in in stand_ins.items():
        url = url.replace(str(stand_in), f"{{{name}}}")
    return url
