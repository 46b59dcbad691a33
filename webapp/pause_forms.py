"""The form of the pause dialogs: whom or what, where, until when and why."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, time, timedelta

from flask import g
from flask_wtf import FlaskForm
from wtforms import DateTimeLocalField, HiddenField, SelectMultipleField, StringField
from wtforms.validators import ValidationError

from jobs.choices import Choice, Impact
from tenants.errors import Invalid
from tenants.permissions import Actor, May
from webapp import forms
from webapp.formats import user_zone

_BIGGEST_ID = 2**31 - 1
_MINUTES = "%Y-%m-%dT%H:%M"
_MORNING = time(8)
EVERYWHERE = "whole system"  # what is typed before every business is touched


def _user_id(text: str) -> int:
    id_ = int(text)
    if not 0 < id_ <= _BIGGEST_ID:
        raise ValueError
    return id_


class PauseForm(FlaskForm):
    """What `of` is about, users or types, is asked first; the other list may narrow it down to combinations.

    `seen` are the counts that were shown for this choice, and `grows` says that they had grown once already.
    """

    of = HiddenField(default="user")
    users = SelectMultipleField(coerce=_user_id, validate_choice=False)
    types = SelectMultipleField(coerce=str, validate_choice=False)
    also = SelectMultipleField(coerce=str, validate_choice=False)
    scope = StringField("Scope", default="business")
    sure = StringField("Sure")
    reason = StringField("Reason")
    until = StringField("Until", default="resume")
    until_at = DateTimeLocalField("Date and time", format=[_MINUTES, f"{_MINUTES}:%S"])
    seen = HiddenField()
    grows = HiddenField()

    def validate_users(self, field: SelectMultipleField) -> None:
        """Somebody is chosen; a pause of the whole system is about everybody."""
        if not self.is_of_types and not field.data:
            raise ValidationError("Choose at least one user.")
        if self.is_everywhere and field.data:
            raise ValidationError("A pause of the whole system is of everybody. Choose no users, or one business.")

    def validate_types(self, field: SelectMultipleField) -> None:
        """Something is chosen."""
        if self.is_of_types and not field.data:
            raise ValidationError("Choose at least one task type.")

    def validate_sure(self, field: StringField) -> None:
        """A pause that touches every business is typed out by whoever may make it."""
        typed = " ".join((field.data or "").lower().split())
        if self.is_everywhere and typed != EVERYWHERE and g.actor.may(May.PAUSE_SYSTEM):
            raise ValidationError(f"Type “{EVERYWHERE}”: this touches every business.")

    def validate_until_at(self, field: DateTimeLocalField) -> None:
        """It is a time, if one is asked for; whether it lies ahead is judged by the database's clock."""
        if self.until.data != "at":
            field.errors = []
        elif field.data is None or not _is_possible(field.data):
            field.errors = []
            raise ValidationError("Type a date and a time.")

    @property
    def is_of_types(self) -> bool:
        """Whether it is about task types first, not users."""
        return bool(self.of.data == "type")

    @property
    def is_everywhere(self) -> bool:
        """Whether the whole installation is meant."""
        return self.is_of_types and self.scope.data == "system"

    def choice(self, others: list[Actor]) -> Choice:
        """What was chosen, in this business and the `others`."""
        actors = (g.actor,) if self.is_everywhere else (g.actor, *others)
        users, types = (dict.fromkeys(field.data or []) for field in (self.users, self.types))
        return Choice(actors, tuple(users), tuple(types), self.is_everywhere)

    def is_chosen(self) -> bool:
        """Whether anything is chosen so far."""
        return bool(self.types.data if self.is_of_types else self.users.data)

    def ends_at(self) -> datetime | None:
        """When the pause ends by itself."""
        match self.until.data:
            case "hour":
                return datetime.now(UTC) + timedelta(hours=1)
            case "tomorrow":
                return tomorrow()
            case "at":
                at: datetime = self.until_at.data
                return at.replace(tzinfo=user_zone())
        return None

    def note(self, error: Invalid) -> None:
        """Show an error of the domain at its field; one about the end where the end was typed."""
        if error.field == "until" and self.until.data == "at":
            error.field = "until_at"
        forms.note(self, error)

    def seen_impact(self) -> Impact | None:
        """The counts that were shown, if any were."""
        try:
            return Impact(*map(int, (self.seen.data or "").split("-")))
        except (TypeError, ValueError):
            return None


def tomorrow() -> datetime:
    """Tomorrow at eight, as the user's clock shows it."""
    return datetime.combine(datetime.now(user_zone()).date() + timedelta(days=1), _MORNING, user_zone())


def as_seen(impact: Impact) -> str:
    """The counts as the form carries them."""
    return "-".join(map(str, astuple(impact)))


def _is_possible(at: datetime) -> bool:
    """The first and last days of the calendar are in no year in some zones."""
    try:
        at.replace(tzinfo=user_zone()).astimezone(UTC)
    except (OverflowError, ValueError):
        return False
    return True
