"""The web servers of Sluice and of other dashboards, and how the page of each asks for its list."""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.arena import Arena
from bench.browser import Asked, Browser
from bench.contenders.sluice import BUSINESSES, EMAIL, PASSWORD
from bench.servers import free_port
from bench.starts import Void
from config import Config
from run import gunicorn

ROWS = 50
HOME = f"/b/{BUSINESSES[0]}"
PART = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "section#tasks-table"}
_OLDER = re.compile(r'id="page-older" href="([^"]+)"')
_TOKEN = re.compile(r'name="csrf_token"[^>]* value="([^"]+)"')
_COLUMNS = ("name", "uuid", "state", "received", "runtime", "worker")


@dataclass(frozen=True)
class Face:
    """How a list is asked for: `page` is told a page's number and the answer before it, `rows` finds its ids."""

    home: str  # for which nobody has to log in
    page: Callable[[int, str], Asked]
    rows: Callable[[str], list[str]]


def start(arena: Arena, *options: str) -> tuple[Browser, int]:
    """Start the contender's web server, in one process; a browser that is logged in, and the server's id."""
    port = free_port()
    if arena.contender.module == "sluice":
        _, *command = gunicorn(Config(host="127.0.0.1", port=port, web_processes=1))
        command = [str(arena.contender.python), *command, *options]
    else:
        [command] = arena.contender.commands(1, redis=arena.broker.url, port=port, folder=arena.folder)
    pid = arena.start(command, SECRET_KEY=secrets.token_hex(32), DATA_DIR=str(arena.folder))
    browser, face = Browser(port), FACES[arena.contender.module]
    arena.wait_until(lambda: browser.is_answered(face.home))
    if arena.contender.module == "sluice":
        _log_in(browser, face.home)
    return browser, pid


def walk(browser: Browser, face: Face, pages: int) -> list[tuple[Asked, list[str]]]:
    """The request for each page, and its rows, from the first on. Void unless each begins with ROWS new ones."""
    walked: list[tuple[Asked, list[str]]] = []
    seen: set[str] = set()
    text = ""
    for number in range(1, pages + 1):
        asked = face.page(number, text)
        text = browser.ask(asked).text
        rows = face.rows(text)
        fresh = set(rows[:ROWS]) - seen
        if len(fresh) != ROWS:
            raise Void(f"page {number} has {len(fresh)} new rows instead of {ROWS}")
        seen |= fresh
        walked.append((asked, rows))
    return walked


def _log_in(browser: Browser, path: str) -> None:
    token = _TOKEN.search(browser.ask(Asked(path)).text)
    form = {"email": EMAIL, "password": PASSWORD, "csrf_token": token[1] if token else ""}
    browser.ask(Asked(path, form), status=303)


def _sluice_page(number: int, before: str) -> Asked:
    """As htmx asks when somebody follows Older."""
    older = _OLDER.search(before)
    if number > 1 and not older:
        raise Void(f"no way to page {number}")
    return Asked(html.unescape(older[1]) if older else f"{HOME}/tasks", headers=PART)


def _flower_page(number: int, _before: str) -> Asked:
    """As its DataTables asks, the newest first."""
    columns = {f"columns[{place}][data]": name for place, name in enumerate(_COLUMNS)}
    order = {"order[0][column]": str(_COLUMNS.index("received")), "order[0][dir]": "desc", "search[value]": ""}
    part = {"draw": str(number), "start": str((number - 1) * ROWS), "length": str(ROWS)}
    return Asked("/tasks/datatable", {**columns, **order, **part})


def _rq_dashboard_page(number: int, _before: str) -> Asked:
    return Asked(f"/0/data/jobs/bench/queued/{ROWS}/asc/{number}.json")


def _in_json(list_name: str, id_name: str) -> Callable[[str], list[str]]:
    def rows(text: str) -> list[str]:
        try:
            return [one[id_name] for one in json.loads(text)[list_name]]
        except (ValueError, KeyError, TypeError) as error:
            raise Void(f"no list in the answer: {text[:60]!r}") from error

    return rows


FACES: Mapping[str, Face] = {
    "sluice": Face("/login", _sluice_page, re.compile(r'<tr id="task-(\d+)"').findall),
    "flower": Face("/tasks", _flower_page, _in_json("data", "uuid")),
    "rq_dashboard": Face("/", _rq_dashboard_page, _in_json("jobs", "id")),
}
