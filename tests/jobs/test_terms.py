"""What a search is made of."""

from __future__ import annotations

import pytest

from jobs.terms import terms


def test_terms_know_what_they_are_about_and_the_search_without_them() -> None:
    found = terms('user:"Ada L"  report STATE:Failed')
    assert [(one.field, one.value) for one in found] == [("user", "ada l"), (None, "report"), ("state", "failed")]
    assert [one.text for one in found] == ['user:"Ada L"', "report", "STATE:Failed"]
    assert [one.without for one in found] == [
        "report STATE:Failed",
        'user:"Ada L" STATE:Failed',
        'user:"Ada L" report',
    ]


@pytest.mark.parametrize(
    ("q", "meant"),
    [
        ("", []),
        ("  ", []),
        ('""', []),
        ("user:", []),
        ("user: ben", [(None, "ben")]),
        ('user:""', []),
        ('"user:"', [(None, "user:")]),
        ("other:thing", [(None, "other:thing")]),
        ('"two words', [(None, "two words")]),
        ('a"b', [(None, 'a"b')]),
        ("id:7 7", [("id", "7"), (None, "7")]),
    ],
)
def test_whatever_is_typed_is_a_search(q: str, meant: list[tuple[str | None, str]]) -> None:
    assert [(one.field, one.value) for one in terms(q)] == meant
