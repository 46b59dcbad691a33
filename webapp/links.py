"""Links of templates: `url_for` of pages with hundreds of links that differ by an id only."""

from __future__ import annotations

import functools
from typing import Any

from flask import Flask, g, url_for

_KEPT = 2_000  # links: a list has some thirty
_STAND_IN = 9_007_199_254_740_000  # for the numbers of a link: no id or size is near it


def init_app(app: Flask) -> None:
    """Templates use `link` by the name of url_for."""
    app.jinja_env.globals["url_for"] = link


def link(endpoint: str, **values: Any) -> str:
    """What `url_for` says, asked once for all links that differ by numbers only: much faster."""
    shape = tuple(name if type(value) is int else (name, value) for name, value in values.items())
    # Links lead into the business that the page is of. Not the actor's: an error page asks the database nothing.
    return _pattern(g.get("slug"), endpoint, shape).format_map(values)


@functools.lru_cache(maxsize=_KEPT)
def _pattern(_business: str | None, endpoint: str, shape: tuple[str | tuple[str, Any], ...]) -> str:
    """The link with the names of its numbers in braces, which no link has otherwise: they would be quoted."""
    stand_ins = {one: _STAND_IN + place for place, one in enumerate(shape) if isinstance(one, str)}
    values: Any = dict((one, stand_ins[one]) if isinstance(one, str) else one for one in shape)
    url = url_for(endpoint, **values)
    for name, stand_in in stand_ins.items():
        url = url.replace(str(stand_in), f"{{{name}}}")
    return url
