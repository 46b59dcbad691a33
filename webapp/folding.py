"""JSON that folds: its text as stored, in which what is long and nested is closed at first. It needs no script."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

_SHORT = 12  # lines that stand open


def folded_json(value: Any, name: str) -> Markup:
    """The lines of a value. Their text, folded or not, is its JSON; `name` begins the ids of what folds."""
    return _fold(value, "", "", 0, (f"{name}-fold-{number}" for number in itertools.count(1)))[0]


def _fold(value: Any, lead: str, tail: str, depth: int, ids: Iterator[str]) -> tuple[Markup, int]:
    """The text of a value between what stands before and behind it, and how many lines that takes."""
    pad, end = "  " * depth, f"{tail}\n" if depth else ""
    if not isinstance(value, dict | list) or not value:
        return Markup.escape(f"{pad}{lead}{_written(value)}{end}"), 1
    id_ = next(ids) if depth else ""
    if isinstance(value, dict):
        begin, close, pairs = "{", "}", [(f"{_written(key)}: ", one) for key, one in value.items()]
    else:
        begin, close, pairs = "[", "]", [("", one) for one in value]
    parts = [
        _fold(one, key, "," if place < len(pairs) else "", depth + 1, ids)
        for place, (key, one) in enumerate(pairs, start=1)
    ]
    inside, lines = Markup("").join(part for part, _ in parts), sum(count for _, count in parts) + 2
    first, last = f"{pad}{lead}{begin}\n", f"{pad}{close}{end}"
    if not depth:
        return Markup("{}{}{}").format(first, inside, last), lines
    rest = f" … {len(pairs):,} {close}{tail}"
    is_open = Markup(" open") if lines <= _SHORT else ""
    fold = Markup('<details class="json-fold" id="{}"{}><summary data-rest="{}">{}</summary>{}{}</details>')
    return fold.format(id_, is_open, rest, first, inside, last), lines


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
