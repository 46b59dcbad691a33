"""How pages write how long something took, and addresses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask, url_for

from webapp.formats import duration, escaped_controls
from webapp.links import link


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"),
        (0.35, "350 ms"),
        (4.21, "4.2 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (200.4, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_400 * 3 + 3600 * 4, "3 d 4 h"),
        (86_400 * 345 + 5, "345 d"),
    ],
)
def test_two_units_say_enough(seconds: float, words: str) -> None:
    assert duration(timedelta(seconds=seconds)) == words


def test_control_characters_are_seen_and_all_others_stay() -> None:
    assert escaped_controls("a\tb\nc ü 漢 🙂") == "a\tb\nc ü 漢 🙂"
    assert escaped_controls("\x1b[31mred\x07 \x7f\x85 \u202exe") == r"\x1b[31mred\x07 \x7f\x85 \u202exe"


def test_a_link_of_a_template_is_what_flask_says(app: Flask) -> None:
    """Also the second time, with other numbers, and with numbers that look alike."""
    with app.test_request_context("/"):
        for task_id in (1, 17, 90_071_992_547_400_001):
            for more in ({}, {"user": 3, "q": "a b&c", "after": None}, {"user": task_id, "size": 25}):
                same = {"business": "acme", "task_id": task_id, **more}
                assert link("tasks.show", **same) == url_for("tasks.show", **same)
        assert link("static", filename="app.css") == url_for("static", filename="app.css")
