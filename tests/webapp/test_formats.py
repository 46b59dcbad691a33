"""How pages write how long something took."""

from __future__ import annotations

from datetime import timedelta

import pytest

from webapp.formats import duration


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
