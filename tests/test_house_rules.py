"""The rules of the house that no tool checks: routes, templates, vendored files and settings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from config import Config
from webapp import create_app
from webapp.access import declared

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "webapp" / "templates"
VENDOR = ROOT / "webapp" / "static" / "vendor"
ALL = sorted(TEMPLATES.rglob("*.html"))
FRAGMENTS = [one for one in ALL if one.name.startswith("_")]
_TAG = re.compile(r"<([a-zA-Z][\w-]*)((?:[^<>\"'{]|\"[^\"]*\"|'[^']*'|\{\{.*?\}\}|\{%.*?%\})*)>", re.DOTALL)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flask, list[Rule]]:
    """The portal and its routes; nothing here asks its database."""
    folder = tmp_path_factory.mktemp("rules")
    config = Config(
        data_dir=folder,
        database_url=f"sqlite:///{folder}/none.db",
        redis_url="unix:///none",
        secret_key="s" * 32,
        embed_origins="https://shop.example.com",
    )
    app = create_app(config)
    return app, [one for one in app.url_map.iter_rules() if not one.build_only]


def name_of(template: Path) -> str:
    return str(template.relative_to(TEMPLATES))


def source(template: Path) -> str:
    return _COMMENT.sub("", template.read_text())


def tags(template: Path) -> Iterator[tuple[str, str]]:
    """Each tag with its attributes, as written."""
    yield from _TAG.findall(source(template))


def test_every_route_declares_who_may_use_it(rules: tuple[Flask, list[Rule]]) -> None:
    app, found = rules
    assert [one.rule for one in found if declared(app, one.endpoint) is None] == []


def test_addresses_are_kebab_case_and_ids_are_typed(rules: tuple[Flask, list[Rule]]) -> None:
    _, found = rules
    word = r"[a-z0-9]+(-[a-z0-9]+)*"
    part = rf"({word}|<business>|<int:[a-z]+_id>)"
    exempt = {"/api/taskqueue/test_task", "/embed.js"}  # a name that was given to us, and one that says what it is
    assert [one.rule for one in found if one.rule not in exempt and not re.fullmatch(rf"(/{part})*/?", one.rule)] == []


def test_routes_of_a_business_ask_for_a_permission_in_it(rules: tuple[Flask, list[Rule]]) -> None:
    from tenants.permissions import May

    app, found = rules
    for one in found:
        assert ("business" in one.arguments) == isinstance(declared(app, one.endpoint), May), one.rule


def test_a_blueprint_its_module_and_its_templates_share_a_name(rules: tuple[Flask, list[Rule]]) -> None:
    _, found = rules
    for one in found:
        name = one.endpoint.partition(".")[0]
        assert (ROOT / "webapp" / f"{name}.py").exists() or (ROOT / "webapp" / "api" / f"{name}.py").exists()
    folders = {one.parent.name for one in ALL} - {"templates", "macros", "errors"}
    assert folders <= {one.endpoint.partition(".")[0] for one in found}


@pytest.mark.parametrize("template", ALL, ids=name_of)
def test_templates_leave_escaping_and_the_policy_alone(template: Path) -> None:
    text = source(template)
    assert not re.search(r"\|\s*safe\b|autoescape", text)
    assert not re.search(r"\bhx-on\b|hx-on:|\bjs:|javascript:", text)
    assert not re.search(r"hx-trigger=\"[^\"]*\[", text), "a trigger filter is evaluated, which the policy forbids"
    for tag, written in tags(template):
        attributes = _CODE.sub("", written)
        assert tag != "style", "inline style"
        assert tag != "script" or "src=" in attributes, "inline script"
        assert not re.search(r"(^|\s)style\s*=", attributes), f"inline style of {tag}"
        assert not re.search(r"(^|\s)on[a-z]+\s*=", attributes), f"inline script of {tag}"
        assert not re.search(r"=\"(https?:)?//", attributes), f"{tag} loads from another host"


def test_what_htmx_replaces_exists() -> None:
    ids = {one for template in ALL for one in re.findall(r"\bid=\"([^\"{]+)\"", source(template))}
    macros = {"{{ region }}"}
    inputs = " ".join(written for template in ALL for tag, written in tags(template) if tag == "input")
    marks = set(re.findall(r"\bdata-[a-z-]+", inputs))
    for template in ALL:
        text = source(template)
        for kind, target in re.findall(r"hx-(target|include)=\"([^\"]+)\"", text):
            for one in target.split(","):
                name = one.strip().removeprefix("#").removesuffix(":checked")
                is_mark = kind == "include" and any(name == f"[{mark}]" for mark in marks)
                assert is_mark or name in ids | macros | {"this"}, f"{name_of(template)}: {one}"
    for template in [one for one in ALL if one.parent.name != "macros"]:
        for region in re.findall(r"(?:to_view|sort_heading|pager)\([^}]*?\"([a-z]+-[a-z]+)\"\)", source(template)):
            assert region in ids, f"{name_of(template)}: {region}"


@pytest.mark.parametrize("template", FRAGMENTS, ids=name_of)
def test_a_fragment_has_one_root_named_like_its_file(template: Path) -> None:
    expected = f"{template.parent.name}-{template.stem.removeprefix('_')}"
    first = next(tags(template))
    assert f'id="{expected}"' in first[1]


@pytest.mark.parametrize("template", FRAGMENTS, ids=name_of)
def test_a_fragment_is_a_file_that_a_page_includes(template: Path) -> None:
    included = f'{{% include "{name_of(template)}" %}}'
    assert [one for one in ALL if included in source(one)], f"no page includes {name_of(template)}"


@pytest.mark.parametrize("template", sorted((TEMPLATES / "macros").glob("*.html")), ids=name_of)
def test_every_macro_says_what_it_is_and_is_used(template: Path) -> None:
    text = template.read_text()
    for macro in re.findall(r"{% macro (\w+)\(", text):
        assert re.search(rf"#}}\s*{{% macro {macro}\(", text), f"{macro} has no comment"
        uses = sum(len(re.findall(rf"\b{macro}\(", one.read_text())) for one in ALL)
        uses += (TEMPLATES.parent / "rows.py").read_text().count(f"macros.{macro}(")  # it renders a row for all alike
        assert uses > 1, f"{macro} is used nowhere"
        assert not re.search(r"\bg\.", text)


def test_vendored_files_are_as_they_were_fetched() -> None:
    known = json.loads((VENDOR / "VENDOR.json").read_text())
    for one in known:
        assert one["licence"] in {"MIT", "0BSD", "OFL-1.1"}
        file = VENDOR / one["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == one["sha256"], one["file"]
        assert (file.parent / "LICENSE").exists()
    there = {
        str(one.relative_to(VENDOR)) for one in VENDOR.rglob("*") if one.is_file() and one.suffix not in (".br", ".gz")
    }
    assert {one for one in there if Path(one).name not in ("LICENSE", "VENDOR.json")} == {one["file"] for one in known}


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    told = dict(re.findall(r"^\| `([A-Z_]+)` \|.*\| ([^|]+) \|$", page, re.MULTILINE))
    assert set(told) == {name.upper() for name in Config.model_fields}
    for name, field in Config.model_fields.items():
        assert told[name.upper()] == field.description
