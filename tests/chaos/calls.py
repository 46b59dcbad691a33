"""What the driver was told, against what happened: submits, pauses, interrupts."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import SCHEDULED, Evidence


def lost(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Every submit that answered has its row, with what was asked for; also those of handlers."""
    for one in evidence.entries("submit"):
        if one["answer"] is None:
            continue
        row = evidence.tasks.get(one["answer"])
        if row is None or (row.payload.get("call"), row.business, row.user) != (
            one["call"],
            one["business"],
            one["user"],
        ):
            yield {"call": one, "row": row}
    for line in evidence.lines:
        if line.word == "child":
            call, _, id_ = line.detail.partition("=")
            row = evidence.tasks.get(int(id_))
            if row is None or (row.payload.get("call"), row.business) != (call, line.business):
                yield {"line": line, "row": row}


def doubled(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """No call made two rows; but those of a schedule, of which `firing` counts each."""
    ids = collections.defaultdict(list)
    for row in evidence.tasks.values():
        ids[row.payload.get("call")].append(row.id)
    for call, made in ids.items():
        if len(made) > 1 and call != SCHEDULED:
            yield {"call": call, "tasks": made}


def begun_under_pause(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Nothing that a pause covers begins between its answer and the call that resumes it.

    Exempt: a process that was frozen between the check and the handler's first line.
    """
    for pause in evidence.entries("pause"):
        if pause["answer"] is None:
            continue
        since, till = pause["answered"], evidence.resumed(pause)
        for line in evidence.begins:
            if not since < line.at < till or not evidence.covers(pause, line.task):
                continue
            if not evidence.was_frozen(line.pid, since, line.at):
                yield {"begin": line, "after": round(line.at - since, 4), "pause": pause}


def interrupted_and_yet(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """An accepted interrupt ends as canceled; what waited never begins, what ran never begins again."""
    for one in evidence.entries("interrupt"):
        if one["answer"] is None:
            continue
        row = evidence.tasks.get(one["task"])
        if row is None or row.state != "canceled":
            yield {"interrupt": one, "row": row}
        begins = evidence.begins_of.get(one["task"], [])
        late = [line for line in begins if line.at > one["answered"]]
        if one["answer"]["found"] == "running":  # a claim that was about to begin is beyond recall
            late = [line for line in late if line.attempt > one["answer"]["attempts"]]
        for line in late:
            if not evidence.was_frozen(line.pid, one["asked"], line.at):
                yield {"begin": line, "interrupt": one}
