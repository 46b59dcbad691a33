"""A payload against the signature of its handler, and values against JSON."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable
from typing import Any, NotRequired, Required, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from jobs import redaction
from jobs.task_types import BadTaskModule, TaskType
from tenants.errors import Invalid

MAX_BYTES = 64 * 1024
MAX_DEPTH = 100
_MOST_ERRORS = 5  # that one sentence names
_STRICT = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_TOO_MUCH = f"it has more than {MAX_BYTES:,} bytes"


class BadPayload(Invalid):
    """The payload does not fit the task type."""


def check(type_: TaskType, payload: Any) -> str:
    """The payload as JSON, if the type's handler takes it and that has 64 KiB at most; else BadPayload."""
    if not isinstance(payload, dict) or not all(isinstance(key, str) for key in payload):
        raise BadPayload("A payload is a JSON object.", field="payload")
    try:
        text = encode(payload).decode()
    except ValueError as error:
        raise BadPayload(f"The payload cannot be stored: {error}.", field="payload") from None
    if redaction.holds_mask(type_, payload):
        raise BadPayload(f"{redaction.MASK} stands for a hidden value that is not known here.", field="payload")
    try:
        _validate(type_, payload)
    except BadPayload:
        raise
    except Exception as error:  # noqa: BLE001 - validators are their author's code
        raise _misfit(type_, payload, f"{type(error).__name__}: {error}") from None
    return text


def arguments(type_: TaskType, payload: dict[str, Any]) -> dict[str, Any]:
    """What the handler is called with: the payload as its annotations say, a date as a date."""
    return _validate(type_, payload)


def warm(types: Iterable[TaskType]) -> None:
    """Read the signatures of these types now, so that no forked worker has to. BadTaskModule if one cannot be read."""
    for type_ in types:
        try:
            _adapter(type_.handler)
        except Exception as error:  # whatever an annotation of somebody else's does
            wrong = f"{type(error).__name__}: {error}".splitlines()[0]
            raise BadTaskModule(f"the parameters of task type {type_.name!r} cannot be read: {wrong}") from error


def encode(value: Any) -> bytes:
    """Strict JSON of 64 KiB at most. ValueError tells what is wrong: NaN, a key that is no string, NUL, too much."""
    _check_shape(value)
    try:
        encoded = _STRICT.encode(value).encode()
    except TypeError as error:
        raise ValueError(str(error)) from None
    if len(encoded) > MAX_BYTES:
        raise ValueError(_TOO_MUCH)
    return encoded


def is_json(value: Any) -> bool:
    """Whether `encode` takes it."""
    try:
        encode(value)
    except ValueError:
        return False
    return True


def storable(text: str) -> str:
    """The text as a database takes it: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()


def _check_shape(value: Any) -> None:
    """Keys are strings, nothing is nested so deeply that reading it back could fail, and there is not too much of it.

    What stands in several places counts in each, as it is written: fifty lists within each other may be a petabyte.
    """
    size, depth, level = 0, 0, [value]
    while level:
        nested = []
        for one in level:
            size += _size(one)
            if size > MAX_BYTES:
                raise ValueError(_TOO_MUCH)
            if isinstance(one, (dict, list, tuple)):
                nested.append(one)
        if nested and depth == MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        depth, level = depth + 1, [inner for one in nested for inner in _inside(one)]


def _size(one: Any) -> int:
    """How much it takes at least, without what stands in it."""
    if isinstance(one, str):
        if "\x00" in one:
            raise ValueError("a NUL character cannot be stored")
        return len(one)
    if isinstance(one, int):
        return one.bit_length() // 4
    return len(one) if isinstance(one, (dict, list, tuple)) else 0


def _inside(nested: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
    """What stands in it, keys included."""
    if not isinstance(nested, dict):
        return nested
    for key in nested:
        if not isinstance(key, str):
            raise ValueError(f"a key is no string but of type {type(key).__name__}")
    return [*nested, *nested.values()]


def _validate(type_: TaskType, payload: dict[str, Any]) -> dict[str, Any]:
    try:
        valid = _adapter(type_.handler).validate_python(payload)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:_MOST_ERRORS]]
        more = [f"and {len(found) - _MOST_ERRORS:,} more"] if len(found) > _MOST_ERRORS else []
        raise _misfit(type_, payload, "; ".join(wrong + more)) from None
    if wrong := [name for name, value in payload.items() if name in valid and _counts_truth(value, valid[name])]:
        raise _misfit(type_, payload, "; ".join(f"{name}: a number is not true or false" for name in wrong))
    return valid


def _counts_truth(given: Any, read: Any) -> bool:
    """Whether true or false was read as a number, in a value or deep within it."""
    if isinstance(given, bool):
        return isinstance(read, (int, float)) and not isinstance(read, bool)
    if isinstance(given, dict) and isinstance(read, dict):
        return any(key in read and _counts_truth(value, read[key]) for key, value in given.items())
    if isinstance(given, (list, tuple)) and isinstance(read, (list, tuple)):
        return any(map(_counts_truth, given, read))
    return False


def _misfit(type_: TaskType, payload: dict[str, Any], wrong: str) -> BadPayload:
    """What is wrong, but not with which secrets: a validator of the type's may repeat what it got."""
    wrong = redaction.Redactor(type_, payload).text(wrong)
    return BadPayload(f"The payload does not fit {type_.name}: {wrong}.", field="payload")


@functools.cache
def _adapter(handler: Callable[..., Any]) -> TypeAdapter[dict[str, Any]]:
    """A handler's parameters behind `task`, as a typed dictionary. The handler itself fills in its defaults."""
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    hints = _hints(handler, parameters)
    fields: dict[str, Any] = {}
    for p in parameters:
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD):
            hint = hints.get(p.name, Any)
            fields[p.name] = Required[hint] if p.default is p.empty else NotRequired[hint]
    shape = TypedDict("shape", fields)  # type: ignore[misc]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    shape.__pydantic_config__ = ConfigDict(extra="allow" if open_ended else "forbid")  # type: ignore[attr-defined]
    return TypeAdapter(shape)  # type: ignore[arg-type]


def _hints(handler: Callable[..., Any], parameters: Iterable[inspect.Parameter]) -> dict[str, Any]:
    """What these are annotated with. That of `task` is often imported for type checkers only: nobody reads it here."""
    told = {one.name: one.annotation for one in parameters if one.annotation is not one.empty}
    names = getattr(inspect.unwrap(handler), "__globals__", {})
    return get_type_hints(type("payload", (), {"__annotations__": told}), names, include_extras=True)
