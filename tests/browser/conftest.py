"""The real stack, a real browser, and people in front of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import Engine, text

from tenants.models import Business
from tests.browser import stack as stacks
from tests.browser.people import Trouble, sign_in
from tests.browser.stack import Stack
from tests.factories import Cast

Visit = Callable[..., Page]

expect.set_options(timeout=10_000)
_numbers = itertools.count(1)
_shared: list[tuple[Stack, contextlib.ExitStack]] = []


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """How to start Chromium. None at all is a failure: a page that was not looked at is not tested."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if not chromium:
        pytest.fail("The browser tests need Chromium: run them with `make test`, or set CHROMIUM to its path.")
    switches = "--disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {**browser_type_launch_args, "executable_path": chromium, "args": [*as_root, *switches.split()]}


@pytest.fixture
def sqlite_stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Sluice on SQLite, as `make run` starts it. All tests with browsers share it."""
    if not _shared:
        ending = contextlib.ExitStack()
        _shared.append((ending.enter_context(stacks.start(tmp_path_factory.mktemp("sqlite"))), ending))
    return _shared[0][0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None]:
    """End it when other tests follow: its demo goes on, and would take a tenth of a processor from them."""
    yield
    if _shared and (nextitem is None or Path(__file__).parent not in nextitem.path.parents):
        _, ending = _shared.pop()
        ending.close()


@pytest.fixture(scope="module")
def postgresql_stack(tmp_path_factory: pytest.TempPathFactory, postgresql: Engine) -> Iterator[Stack]:
    """Sluice on PostgreSQL, for one file of tests: two stacks at once are slow."""
    name = f"browser_{next(_numbers)}"
    with postgresql.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = postgresql.url.set(database=name).render_as_string(hide_password=False)
    with stacks.start(tmp_path_factory.mktemp("postgresql"), DATABASE_URL=url) as started:
        yield started


@pytest.fixture
def stack(sqlite_stack: Stack) -> Stack:
    """The stack that a test runs on."""
    return sqlite_stack


@pytest.fixture
def cast(stack: Stack) -> Iterator[Cast]:
    """The people and businesses; nothing waits and nothing is paused when a test begins."""
    with stack.at_hand() as cast:
        yield cast


@pytest.fixture
def shop(stack: Stack, cast: Cast) -> Business:
    """A business without tasks that no other test knows. Ada runs it, Ben and Cleo work there."""
    number = next(_numbers)
    return stack.found(cast, f"shop-{number}", f"Shop {number}")


@pytest.fixture
def trouble(stack: Stack) -> Iterator[Trouble]:
    """What no page may do: load from elsewhere, or complain in the console."""
    trouble = Trouble(stack.url)
    yield trouble
    assert trouble.met == []


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], stack: Stack, cast: Cast, trouble: Trouble) -> Visit:
    """Somebody opens a browser of their own: `visit("ada")` is logged in, `visit()` is nobody."""

    def open_browser(who: str | None = None, **options: Any) -> Page:
        if who and who in stack.logins:
            options["storage_state"] = stack.logins[who]
        context = new_context(base_url=stack.url, locale="en-GB", **options)
        trouble.watch(context)
        page = context.new_page()
        if who and who not in stack.logins:
            sign_in(page, who)
            stack.logins[who] = context.storage_state()
        return page

    return open_browser
