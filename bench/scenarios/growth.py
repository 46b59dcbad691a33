"""Memory of the web server over many requests, and of the scheduler over as many beats: whether it grows."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Iterator
from dataclasses import replace

from bench import tree, web
from bench.arena import Arena
from bench.browser import Asked
from bench.roster import SLUICE
from bench.starts import Void
from bench.web import FACES, HOME, PART

CONTENDERS = SLUICE
MAX_ROUNDS = 1
DISCARDED = 0
_PLANS = 5  # few, so that the tasks that are looked for stay among the newest
_PAGES = 20
_SAMPLES = 100
_ONE_PROCESS = ("--max-requests", "0")  # gunicorn would begin a new one after 5,000
_BEAT = "0.001"  # seconds: one beat after the other
_ONCE_A_BEAT = "type"  # a command that the scheduler alone gives, when it looks for what is due
_EARLY, _LATE = (0.1, 0.4), (0.7, 1.0)  # shares of the requests or beats


def measure(arena: Arena) -> dict[str, float]:
    """Resident MB at the end, and the late median as a multiple of the early one."""
    count = arena.settings.scaled(10_000, 100)
    arena.ask("sow", arena.settings.scaled(20_000, 5_000), _PLANS, module="sluice_growth")
    browser, server = web.start(arena, *_ONE_PROCESS)
    pages = web.walk(browser, FACES["sluice"], _PAGES)
    served, beaten = _Curve(count, _only_child(server)), _Curve(count, arena.start_scheduler(BEAT_SECONDS=_BEAT))
    beats = functools.partial(arena.broker.calls, _ONCE_A_BEAT)
    for number, (asked, wanted) in enumerate(itertools.islice(_requests(pages), count), 1):
        if wanted not in browser.ask(asked).text:
            raise Void(f"{asked.path}: no {wanted} in the answer")
        if number % (count // _SAMPLES) == 0:
            served.see(number)
            beaten.see(beats())
    arena.wait_for(count, beaten.see, every=0.05, so_far=beats)
    if warnings := arena.warnings():
        raise Void(f"{len(warnings)} warnings, the first: {warnings[0]}")
    return {"requests": count, "beats": count, **served.figures("web"), **beaten.figures("scheduler")}


def _only_child(server: int) -> int:
    """The process that answers, below the one that looks after it."""
    found = [pid for pid in tree.below(server) if pid != server]
    if len(found) != 1:
        raise Void(f"the web server has {len(found)} processes")
    return found[0]


def _requests(pages: list[tuple[Asked, list[str]]]) -> Iterator[tuple[Asked, str]]:
    """Lists, searches and details in turn, as pages and as parts of them; and what each answer must hold."""
    ids = [row for _, rows in pages for row in rows]
    for number in itertools.count():
        id_, (page, _) = ids[number % len(ids)], pages[number % len(pages)]
        headers = PART if number % 2 else {}
        yield replace(page, headers=headers), '<tr id="task-'
        yield Asked(f"{HOME}/history?sort=-user", headers=headers), '<tr id="task-'
        yield Asked(f"{HOME}/tasks?q={id_}", headers=headers), f'<tr id="task-{id_}"'
        yield Asked(f"{HOME}/active?q=a&sort=title", headers=headers), '<tr id="task-'
        yield Asked(f"{HOME}/tasks/{id_}", headers=headers), f"#{id_}"


class _Curve:
    """What a process has resident, by how much it has done."""

    def __init__(self, count: int, pid: int) -> None:
        self._count, self._pid = count, pid
        self._seen: list[tuple[int, float]] = []

    def see(self, done: int) -> None:
        """It has done so much; Void when it is gone."""
        self._seen.append((done, tree.resident_megabytes(self._pid)))
        if not self._seen[-1][1]:
            raise Void("a process has ended")

    def figures(self, name: str) -> dict[str, float]:
        """The last sample, and how the late ones compare with the early ones."""
        return {f"{name}_mb": self._seen[-1][1], f"{name}_growth": self._middle(_LATE) / self._middle(_EARLY)}

    def _middle(self, part: tuple[float, float]) -> float:
        low, high = (share * self._count for share in part)
        found = [megabytes for done, megabytes in self._seen if low <= done <= high]
        if not found:
            raise Void("it was too fast to be looked at")
        return statistics.median(found)
