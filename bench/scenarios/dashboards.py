"""How long a page of the list takes beside other dashboards, over HTTP: the first page and the fiftieth."""

from __future__ import annotations

import statistics

from bench import web
from bench.arena import Arena
from bench.browser import Asked, Browser
from bench.roster import DASHBOARDS, SLUICE
from bench.starts import Void
from bench.web import FACES, Face

CONTENDERS = SLUICE + DASHBOARDS
MAX_ROUNDS = 3
_PAGES = 50


def measure(arena: Arena) -> dict[str, float]:
    """Milliseconds from the request to the last byte of the answer, and the rows in it."""
    module = arena.contender.module
    held = arena.ask("sow", arena.settings.scaled(100_000, 5_000), module={"sluice": "sluice_lists"}.get(module))
    browser, _ = web.start(arena)
    pages, times = web.walk(browser, FACES[module], _PAGES), arena.settings.scaled(50, 10)
    figures: dict[str, float] = {"tasks": held}
    for number in (1, _PAGES):
        asked, rows = pages[number - 1]
        took = sorted(_ask(browser, FACES[module], asked, rows) for _ in range(times))
        told = {"p50_ms": statistics.median(took), "p95_ms": took[int(times * 0.95)], "rows": len(rows)}
        figures |= {f"page_{number}_{name}": value for name, value in told.items()}
    return figures


def _ask(browser: Browser, face: Face, asked: Asked, rows: list[str]) -> float:
    """Nobody works, so that every answer has the same rows; Void when one has not."""
    answer = browser.ask(asked)
    if face.rows(answer.text) != rows:
        raise Void(f"{asked.path} has other rows than before")
    return answer.took_ms
