"""Finding a secret in a text, however it is written, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator

from jobs import payloads, task_types
from jobs.context import TaskContext
from jobs.payloads import BadPayload
from jobs.redaction import MASK, Redactor, masked, unmasked

SPECIAL = "canary'\"\\/\n\té\N{GRINNING FACE}%z"


def redactor(secret: Any) -> Redactor:
    return Redactor(task_types.get("test.secret"), {"password": secret})


@pytest.mark.parametrize("secret", ["plain-token", SPECIAL, "\\\\\\\\", "'\"'\"", "a\\'b\"", "é" * 4])
def test_it_is_found_as_python_json_and_addresses_write_it(secret: str) -> None:
    written = [
        secret,
        repr(secret),
        repr({"x": [secret, "'\""]}),
        repr(repr(secret)),
        ascii(secret),
        json.dumps(secret),
        json.dumps(json.dumps({"y": secret})),
        repr(json.dumps([repr(secret)], ensure_ascii=False)),
        quote(secret, safe=""),
    ]
    for text in written:
        assert MASK in redactor(secret).text(text), text
        for part in ("canary", "plain", "é"):
            assert part not in redactor(secret).text(text) or part not in secret


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=4), st.text(), st.text())
def test_any_text_is_found_within_any_other(secret: str, before: str, after: str) -> None:
    task_types.load(("tests.task_types",))
    found = redactor(secret)
    for write in (str, repr, json.dumps, lambda text: repr(json.dumps(text))):
        assert MASK in found.text(write(before + secret + after))


def test_a_long_run_of_backslashes_costs_no_time() -> None:
    for secret in ("\\a\\" * 20, "'\\é'\\", "é\\é\\", "a\\é\\'\\"):
        assert redactor(secret).text("\\" * 300_000 + "a" + "\\" * 300_000).count("\\") == 600_000


def test_a_longer_secret_is_found_before_one_that_it_contains() -> None:
    assert redactor(["token", "token-and-more"]).text("token-and-more, token") == f"{MASK}, {MASK}"


@pytest.mark.parametrize(("secret", "text"), [(123_456, "123456"), (-1_234_567, "1,234,567"), (0.12345, "0.12345")])
def test_long_numbers_are_found(secret: float, text: str) -> None:
    assert redactor(secret).text(f"it is {text}!") == f"it is {MASK}!"
    assert redactor(secret).value([secret, {"n": secret}, True]) == [MASK, {"n": MASK}, True]


@pytest.mark.parametrize("secret", ["abc", "", 12_345, True, None, [], {}])
def test_what_is_too_short_to_be_told_from_other_words_is_not(secret: Any) -> None:
    assert redactor(secret).text("abc 12345 True None []") == "abc 12345 True None []"


def test_a_result_has_none_in_its_keys_nor_under_a_key_of_that_name() -> None:
    result = {"password": 1, "x canary-1": ("canary-1", 2), "deep": [{"pin": "a"}]}
    assert redactor("canary-1").value(result) == {"password": MASK, f"x {MASK}": [MASK, 2], "deep": [{"pin": MASK}]}


def test_a_type_without_secrets_shows_and_keeps_everything() -> None:
    type_ = task_types.get("test.note")
    payload = {"password": "canary", "list": [{"password": MASK}]}
    assert masked("test.note", payload) == payload
    assert unmasked(type_, payload, {"password": "other"}) == payload
    assert Redactor(type_, payload).value(payload) is payload


def test_a_step_is_named_without_them_while_it_runs() -> None:
    task = TaskContext(1, 1, "acme", None)
    task.begin(at=datetime.now(UTC), monotonic=0.0, said=0, redact=redactor("canary-1").text)
    with task.step("x" * 190 + "canary-1" + "y" * 20):
        news = task.news()
    assert news
    assert news.step == ("x" * 190 + MASK + "y" * 20)[:200]
    assert "canary" not in news.lines[0].text


@pytest.mark.parametrize("kind", [ValueError, LookupError])
def test_a_validator_that_repeats_what_it_got_tells_nothing(kind: type[Exception]) -> None:
    def refuse(text: str) -> str:
        raise kind(f"{text} is too weak")

    def handler(task: TaskContext, *, password: Annotated[str, AfterValidator(refuse)]) -> None: ...

    handler.__annotations__["password"] = Annotated[str, AfterValidator(refuse)]
    own = task_types.TaskType(name="own", title="Own", handler=handler, secrets=frozenset({"password"}))
    with pytest.raises(BadPayload, match="••• is too weak"):
        payloads.check(own, {"password": "canary-1"})
