"""What Ada prefers is kept with her, and is nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from tenants import preferences
from tenants.errors import Invalid
from tenants.models import User
from tests.factories import Cast


def again(db: Session, user: User) -> User:
    """The user as the database has them."""
    db.commit()
    db.expire_all()
    return db.get_one(User, user.id)


@pytest.mark.parametrize(("name", "usual"), [("rate", "2"), ("keys", "on"), ("columns-tasks", [])])
def test_who_never_chose_has_the_usual(db: Session, cast: Cast, name: str, usual: Any) -> None:
    assert preferences.get(cast.ada.user, name) == usual


@pytest.mark.parametrize(("name", "value"), [("rate", "off"), ("keys", "off"), ("columns-history", ["user", "queue"])])
def test_what_ada_chose_is_kept_and_is_hers_alone(db: Session, cast: Cast, name: str, value: Any) -> None:
    preferences.put(db, cast.ada.user, name, value)
    preferences.put(db, cast.ada.user, name, value)
    assert preferences.get(again(db, cast.ada.user), name) == value
    assert preferences.get(again(db, cast.ben.user), name) != value


def test_one_choice_leaves_the_others_alone(db: Session, cast: Cast) -> None:
    preferences.put(db, cast.ada.user, "rate", "15")
    preferences.put(db, cast.ada.user, "keys", "off")
    assert preferences.get(again(db, cast.ada.user), "rate") == "15"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", "3"),
        ("rate", ["2"]),
        ("keys", ""),
        ("columns-tasks", "user"),
        ("columns-tasks", ["User<script>"]),
        ("columns-tasks", ["user", "user"]),
        ("columns-tasks", [f"c{n}" for n in range(31)]),
        ("colour", "pink"),
    ],
)
def test_there_is_no_such_choice(db: Session, cast: Cast, name: str, value: Any) -> None:
    with pytest.raises(Invalid):
        preferences.put(db, cast.ada.user, name, value)
    assert again(db, cast.ada.user).preferences == {}


def test_what_is_no_longer_a_choice_falls_back(db: Session, cast: Cast) -> None:
    cast.ada.user.preferences = {"rate": "7"}
    db.add(cast.ada.user)
    assert preferences.get(again(db, cast.ada.user), "rate") == "2"
