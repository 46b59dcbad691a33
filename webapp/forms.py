"""The forms of pages: what was typed, as values, and what was wrong with it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateTimeLocalField,
    EmailField,
    HiddenField,
    IntegerField,
    PasswordField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import AnyOf, InputRequired, NumberRange, Optional, ValidationError

from jobs import tasks
from jobs.bulk import Act
from jobs.models import Task
from jobs.tasks import Changes
from tenants.errors import SluiceError
from webapp.formats import pretty_json, user_zone

_MINUTES = "%Y-%m-%dT%H:%M"


def _stripped(text: str | None) -> str | None:
    return text.strip() if text else text


class LoginForm(FlaskForm):
    """Who, with which password, and where to go then."""

    email = EmailField("E-mail", [InputRequired("Type your e-mail address.")], filters=[_stripped])
    password = PasswordField("Password", [InputRequired("Type your password.")])
    next = HiddenField()


class PayloadForm(FlaskForm):
    """The payload of a task, as JSON; secrets are masked."""

    payload = TextAreaField("Payload")

    @classmethod
    def of_payload(cls, task: Task) -> PayloadForm:
        """The payload as it is, or as it was typed."""
        return cls(payload=pretty_json(tasks.shown_payload(task)))

    def validate_payload(self, field: TextAreaField) -> None:
        """It is a JSON object."""
        try:
            self.parsed = json.loads(field.data or "{}")
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is not JSON: {error}.") from None


class EditForm(PayloadForm):
    """A task that has not started. Times are in the user's zone."""

    title = StringField("Title")
    priority = IntegerField("Priority", [InputRequired("Type a whole number.")])
    start_at = DateTimeLocalField("Start", [Optional()], format=[_MINUTES, f"{_MINUTES}:%S"])

    @classmethod
    def of(cls, task: Task) -> EditForm:
        """The form as the task is, or as it was typed."""
        return cls(
            title=task.title or "",
            priority=task.priority,
            start_at=_as_typed(task.next_try_at),
            payload=pretty_json(tasks.shown_payload(task)),
        )

    def changes(self, task: Task) -> Changes:
        """What was typed. A start time that nobody touched stays exact, and so keeps its place in the queue."""
        start: datetime | None = self.start_at.data
        if start == _as_typed(task.next_try_at):
            start = None
        return Changes(
            title=(self.title.data or "").strip() or None,
            priority=self.priority.data,
            start_at=start.replace(tzinfo=user_zone()) if start else None,
            payload=self.parsed,
        )


class BulkForm(FlaskForm):
    """What to do with which tasks: the ticked ones, or all that match up to an id."""

    act = StringField("Act", [AnyOf([str(one) for one in Act])])
    ids = SelectMultipleField(coerce=int, validate_choice=False)
    all = BooleanField("All")
    last_id = IntegerField("Up to", [Optional(), NumberRange(0)])
    priority = IntegerField("Priority")

    def validate_ids(self, field: SelectMultipleField) -> None:
        """Something is chosen."""
        if not self.all.data and not field.data:
            raise ValidationError("Select at least one task.")

    def validate_last_id(self, field: IntegerField) -> None:
        """Without it, all that match would be whatever matches later."""
        if self.all.data and field.data is None:
            raise ValidationError("Ask again with the tasks that match now.")

    def validate_priority(self, field: IntegerField) -> None:
        """The act that sets one needs one."""
        if self.act.data == Act.PRIORITY and field.data is None:
            raise ValidationError("Type a whole number.")


class ViewForm(FlaskForm):
    """A name for a list as it is shown now. `columns` are the names of those shown, in one text."""

    name = StringField("Name", [InputRequired("Type a name.")], filters=[_stripped])
    shared = BooleanField("Shared")
    columns = HiddenField()


def note(form: FlaskForm, error: SluiceError) -> None:
    """Show an error of the domain at the field that it is about, else on top of the form."""
    field = form._fields.get(error.field)
    if field is not None:
        field.errors = [*field.errors, error.message]
    else:
        form.form_errors = [*form.form_errors, error.message]


def typed_args() -> dict[str, Any]:
    """Keyword arguments that fill a form that is not sent yet, from the address or a body."""
    return {"formdata": request.values, "meta": {"csrf": False}}


def _as_typed(at: datetime) -> datetime:
    """A time as the form shows it: in the user's zone, to the minute."""
    return at.astimezone(user_zone()).replace(tzinfo=None, second=0, microsecond=0)
