"""The five kinds of error. An error's docstring is what people read; the web maps kinds to a status once."""

from __future__ import annotations

import inspect


class SluiceError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))
        self.field = field

    @property
    def message(self) -> str:
        """One sentence for the person who asked."""
        return str(self.args[0])


class NotFound(SluiceError):
    """There is nothing here, or nothing that you may see."""


class NotAllowed(SluiceError):
    """Your role in this business does not allow this."""


class Conflict(SluiceError):
    """This has changed in the meantime."""


class Invalid(SluiceError):
    """This is not a valid value."""


class TooMuch(SluiceError):
    """Too many requests. Try again in a minute."""
