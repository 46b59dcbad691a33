"""The begins that the handlers witnessed, against the attempts that SQL recorded."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator
from typing import Any

from jobs.states import FINAL
from tests.chaos.evidence import AttemptRow, Evidence
from tests.chaos.journal import Line
from tests.chaos.profiles import FLAKY_SECONDS

CLOCKS_SECONDS = 0.1  # what the database's clock and the machine's may differ by, and how finely rows are dated
_BEGUN_AGAIN_AFTER = {"lost", "retry"}
_BY_HANDLER = {"completed", "failed"}
_BESIDE_SECONDS = 3.0  # another fault so near may have hit the parent before it could notice


def process_of_two_businesses(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A process serves one business in its life."""
    served = collections.defaultdict(set)
    for line in evidence.begins:
        served[line.pid, line.life].add(line.business)
    for (pid, _), businesses in served.items():
        if len(businesses) > 1:
            yield {"pid": pid, "businesses": sorted(businesses)}


def attempt_begun_twice(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Each start is a new attempt."""
    begins = collections.defaultdict(list)
    for line in evidence.begins:
        begins[line.start].append(line)
    for start, lines in begins.items():
        if len(lines) > 1:
            yield {"start": start, "begins": lines}


def begun_without_lost_attempt(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Before a task begins again, each attempt that had begun was recorded as lost or retry."""
    for begins in evidence.begins_of.values():
        for before, line in itertools.pairwise(begins):
            row = evidence.row.get(before.start)
            recorded = row is not None and row.outcome in _BEGUN_AGAIN_AFTER
            in_time = row is not None and row.ended_at <= line.at + CLOCKS_SECONDS
            rises = before.attempt < line.attempt or evidence.was_frozen(line.pid, before.at, line.at)
            if not (recorded and in_time and rises):
                yield {"begin": line, "before": before, "row": row}


def two_live_runs(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A task never runs in two processes at once, unless one of them was frozen past its lease."""
    for begins in evidence.begins_of.values():
        for before, line in itertools.pairwise(begins):
            end = evidence.ends.get(before.start)
            if end and end.at > line.at and not evidence.was_frozen(before.pid, before.at, end.at):
                yield {"begin": line, "while": before, "until": end}


def begun_after_end(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Final is final. A frozen process may not know it yet."""
    for id_, begins in evidence.begins_of.items():
        attempts = evidence.rows_of.get(id_, [])
        row = evidence.tasks.get(id_)
        if not attempts or row is None or row.state not in FINAL:
            continue
        last = attempts[-1]
        for line in begins:
            late = line.at > last.ended_at + CLOCKS_SECONDS and not _is_its_end(last, line)
            if late and not evidence.was_frozen(line.pid, last.ended_at - 60, line.at):
                yield {"begin": line, "last": last}


def _is_its_end(row: AttemptRow, line: Line) -> bool:
    """The row tells how this very begin ended: then only two clocks disagree. A loss may be written before a begin."""
    return (row.start, row.pid) == (line.start, line.pid) and row.outcome in _BY_HANDLER


def begin_without_row(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Every start has its row when the task is final."""
    for line in evidence.begins:
        row = evidence.tasks.get(line.task)
        if row and row.state in FINAL and line.start not in evidence.row:
            yield {"begin": line, "row": row}


def retry_too_early(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """After `Retry(delay)` the next attempt waits so long. The witness alone can tell."""
    for begins in evidence.begins_of.values():
        for before, line in itertools.pairwise(begins):
            end = evidence.ends.get(before.start)
            if end and end.detail == "Retry" and line.at < end.at + FLAKY_SECONDS:
                yield {"begin": line, "retry": end}


def dead_horse_cost_more(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A horse that died alone costs the task at work an attempt, and nothing else."""
    lost = collections.defaultdict(list)
    for one in evidence.attempts:
        if one.outcome == "lost":
            lost[one.pid].append(one)
    for pid, at in _died_alone(evidence):
        mine = [one for one in lost[pid] if one.ended_at >= at - 1]
        if len(mine) > 1:
            begun = {line.start for line in evidence.begins if line.pid == pid}
            unbegun = [one.start for one in mine if one.start not in begun]
            yield {"horse": pid, "lost": [one.start for one in mine], "never begun": unbegun}


def poison_not_at_limit(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """What always kills its process is lost as often as its limit says."""
    interrupted = evidence.perhaps_interrupted()
    for row in evidence.tasks.values():
        if row.kind == "poison" and row.state in FINAL and row.id not in interrupted:
            outcomes = [one.outcome for one in evidence.rows_of.get(row.id, [])]
            if outcomes != ["lost"] * row.max_attempts:
                yield {"row": row, "outcomes": outcomes}


def _died_alone(evidence: Evidence) -> Iterator[tuple[int, float]]:
    """Horses that were killed, or that poison killed, while nothing else happened to their parents."""
    deaths = [(pid, one["since"]) for one in evidence.faults("horse") for pid in one["pids"]]
    poison = {row.id for row in evidence.tasks.values() if row.kind == "poison"}
    deaths += [(line.pid, line.at) for line in evidence.begins if line.task in poison]
    others = evidence.faults("worker", "both", "mid-write", "frozen")
    for pid, at in deaths:
        beside = [one for one in others if pid in one["pids"] and abs(one.get("since", one["at"]) - at) < 15]
        if not beside and not evidence.allowance(at, at + _BESIDE_SECONDS, "database"):
            yield pid, at
