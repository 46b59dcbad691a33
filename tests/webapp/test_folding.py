"""JSON that folds still is the JSON that was stored, to the last digit."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

from webapp.folding import folded_json

NESTED: Any = 1
for _ in range(99):
    NESTED = [NESTED]


class Words(HTMLParser):
    """The text of a piece of HTML, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[tuple[str, dict[str, str | None]]]()
        self.feed(str(html))
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def folds(value: Any) -> list[bool]:
    """Whether each fold is open, from top to bottom."""
    return ["open" in attributes for tag, attributes in Words(folded_json(value, "it")).tags if tag == "details"]


@pytest.mark.parametrize(
    "value",
    [
        {"big": 2**70, "small": -(2**63), "float": 0.1, "none": None, "yes": True},
        {"<b>": "</details><script>", "quote\"'": "\n\t\\", "ü": "€ \u2028 😀"},
        {"list": [[], {}, [1, [2, {"three": [3]}]]], "empty": {}},
        {"many": list(range(1000))},
        [{"a": [1]}, 2],
        *([], {}, "text", 2**70, None, NESTED),
    ],
)
def test_its_text_is_the_json_as_stored(value: Any) -> None:
    found = Words(folded_json(value, "it"))
    assert found.text == json.dumps(value, indent=2, ensure_ascii=False)
    assert {tag for tag, _ in found.tags} <= {"details", "summary"}
    ids = [attributes["id"] for tag, attributes in found.tags if tag == "details"]
    assert len(ids) == len(set(ids))


def test_what_is_short_stands_open_and_what_is_long_is_closed() -> None:
    assert folds({"a": 1}) == []
    assert folds({"few": [1, 2, 3], "many": list(range(20)), "deep": {"few": {"a": 1}}}) == [True, False, True, True]


def test_a_closed_one_tells_how_much_it_holds() -> None:
    found = Words(folded_json({"many": list(range(2000)), "last": {"a": list(range(20))}}, "it"))
    rests = [attributes["data-rest"] for tag, attributes in found.tags if tag == "summary"]
    assert rests == [" … 2,000 ],", " … 1 }", " … 20 ]"]
