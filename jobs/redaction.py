"""Secrets of payloads: a type names the keys; pages show a mask, and nothing that a handler says keeps the values."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import quote

from jobs import task_types
from jobs.task_types import TaskType

MASK = "•••"
_DEPTH = 100  # more is not stored anyway
_SHORTEST = 4  # of a text; shorter ones are part of too many words
_DIGITS = 6  # of a number, at least
_BACKSLASHES = r"(?<!\\)\\++"  # a whole run, never tried from its middle: a text full of them costs no more


def masked(task_type: str, payload: Any) -> Any:
    """A payload as anybody may see it. Of a type that is not registered here, nothing may be seen."""
    try:
        secrets: Collection[str] = task_types.get(task_type).secrets
    except task_types.UnknownTaskType:
        secrets = payload
    return _mask(payload, secrets)


def unmasked(type_: TaskType, typed: Any, stored: Any) -> Any:
    """What was typed, with the stored secret where its mask was left standing.

    In a list only an item that is otherwise unchanged keeps its secrets: a deleted neighbour must not pass on its own.
    A mask that stands anywhere else stays, and `payloads.check` refuses it.
    """
    return _unmask(typed, stored, type_.secrets) if type_.secrets else typed


def holds_mask(type_: TaskType, payload: Any) -> bool:
    """Whether a secret's value is the mask, so that nobody knows what it should be."""
    return bool(type_.secrets) and MASK in _secrets(payload, type_.secrets)


class Redactor:
    """Puts the mask in place of the secrets of one payload, in whatever its handler says."""

    def __init__(self, type_: TaskType, payload: Any) -> None:
        self._keys = type_.secrets
        secrets = _secrets(payload, type_.secrets) if type_.secrets else ()  # most types have none: no walk for them
        values = [leaf for secret in secrets for leaf in _leaves(secret)]
        patterns = [pattern for value in sorted(values, key=_length, reverse=True) for pattern in _patterns(value)]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def text(self, text: str) -> str:
        """The text without them."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def value(self, value: Any, depth: int = 0) -> Any:
        """A result without them, neither as values, nor in texts, nor under a key that the type names."""
        if not self._keys or depth > _DEPTH:
            return value
        if isinstance(value, dict):
            return {self._text(key): self._under(key, inner, depth) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, depth + 1) for inner in value]
        return self._text(value)

    def _under(self, key: object, value: Any, depth: int) -> Any:
        return MASK if key in self._keys else self.value(value, depth + 1)

    def _text(self, value: Any) -> Any:
        """A text or number without them; anything else as it is."""
        if isinstance(value, str):
            return self.text(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return MASK if is_number and self._pattern and self._pattern.fullmatch(_number(value)) else value


def _mask(value: Any, secrets: Collection[str], depth: int = 0) -> Any:
    if depth > _DEPTH:
        return value
    if isinstance(value, dict):
        return {key: MASK if key in secrets else _mask(inner, secrets, depth + 1) for key, inner in value.items()}
    return [_mask(inner, secrets, depth + 1) for inner in value] if isinstance(value, list) else value


def _unmask(typed: Any, stored: Any, secrets: Collection[str], depth: int = 0) -> Any:
    if depth > _DEPTH:
        return typed
    if isinstance(typed, dict):
        known = stored if isinstance(stored, dict) else {}
        return {
            key: known.get(key, MASK)
            if key in secrets and value == MASK
            else value
            if key in secrets
            else _unmask(value, known.get(key), secrets, depth + 1)
            for key, value in typed.items()
        }
    if isinstance(typed, list) and isinstance(stored, list) and len(typed) == len(stored):
        return [was if now == _mask(was, secrets, depth + 1) else now for now, was in zip(typed, stored, strict=True)]
    return typed


def _secrets(payload: Any, secrets: Collection[str], depth: int = 0) -> Iterator[Any]:
    """The value of each secret key, however deep."""
    if depth > _DEPTH:
        return
    if isinstance(payload, dict):
        for key, value in payload.items():
            if key in secrets:
                yield value
            else:
                yield from _secrets(value, secrets, depth + 1)
    elif isinstance(payload, list | tuple):
        for value in payload:
            yield from _secrets(value, secrets, depth + 1)


def _leaves(secret: Any) -> Iterator[Any]:
    """Every text and number in a secret value."""
    if isinstance(secret, dict):
        secret = list(secret.values())
    if isinstance(secret, list | tuple):
        for inner in secret:
            yield from _leaves(inner)
    else:
        yield secret


def _length(value: Any) -> int:
    return len(str(value))


def _patterns(value: Any) -> list[str]:
    """How a secret may be written: as it is, in an address, and as Python or JSON quote it, however often."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        digits = _number(value)
        is_long = sum(map(str.isdigit, digits)) >= _DIGITS
        return [re.escape(digits), re.escape(f"{abs(value):,}")] if is_long else []
    if not isinstance(value, str) or len(value) < _SHORTEST:
        return []
    quoted, before = "", ""
    for character in re.sub(r"\\+", r"\\", value):  # a run counts as one: quoting again makes it longer
        quoted += _pattern_of(character, "" if before == "\\" else _BACKSLASHES)
        before = character
    return [quoted, re.escape(quote(value, safe=""))]


def _pattern_of(character: str, backslashes: str) -> str:
    """A character, or what stands for it in quotes, where `backslashes` may lead it."""
    if character == "\\":
        return _BACKSLASHES
    if character in "'\"/":
        return f"(?:{backslashes})?{character}"
    if character.isascii() and character.isprintable():
        return re.escape(character)
    escapes = {ascii(character)[1:-1], repr(character)[1:-1], json.dumps(character)[1:-1]} - {character}
    first_led = [backslashes + one[1:].replace("\\", _BACKSLASHES) for one in sorted(escapes)]
    return "(?:" + "|".join([re.escape(character), *first_led]) + ")"


def _number(value: float) -> str:
    return str(abs(value))
