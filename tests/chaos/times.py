"""How soon: losses noticed, tasks begun again, turns made again, horses gone with their parents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.figures import again, quantile
from tests.chaos.watcher import EVERY_SECONDS

DEAD_HORSE = ("horse", "poison")
_TURN_SECONDS = 2.0
_DEAD_SECONDS = 0.25


def noticed_late(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """A dead horse is noticed by its parent, a dead or frozen worker by its lease."""
    noticed = {tuple(one["start"]): one for one in evidence.entries("noticed")}
    for one in noticed.values():
        horse = one["kind"] in DEAD_HORSE
        limit = evidence.profile.horse_notice_seconds if horse else evidence.profile.worker_notice_seconds
        needed = ("database",) if horse else ("database", "broker", "scheduler")
        allowed = evidence.allowance(one["hit_at"], one["hit_at"] + one["after"], *needed)
        if one["after"] > limit + EVERY_SECONDS + allowed:
            yield {**one, "limit": limit, "a part was away for": round(allowed, 2)}
    for fault in evidence.faults("horse", "worker", "both", "frozen"):
        for start in map(tuple, fault["victims"]):
            if start not in noticed:
                yield {"never noticed": start, "fault": fault}


def begun_again_late(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """From the fault to the next begin, at the 99th percentile, without the time under a pause."""
    took = again(evidence)
    p99 = quantile([seconds for _, seconds in took], 0.99)
    if p99 is not None and p99 > evidence.profile.again_seconds:
        yield {"p99": p99, "slowest": sorted(took, key=lambda one: -one[1])[:5]}


def no_turn_after_flush(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """With much waiting, something begins within two seconds of a flush or of the broker's return."""
    returns = [(one["at"], one["ready"]) for one in evidence.faults("flush")]
    back = [one["till"] for one in evidence.entries("outage", of="broker")]
    for at, ready in [*returns, *((till, evidence.ready_at(till)) for till in back)]:
        after = [line.at - at for line in evidence.begins if line.at > at]
        allowed = evidence.allowance(at, at + _TURN_SECONDS + 5, "database", "broker", "scheduler")
        if ready >= 20 and (not after or min(after) > _TURN_SECONDS + allowed):
            yield {"flushed or back": at, "ready": ready, "next begin after": min(after, default=None)}


def horse_outlived_parent(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Whoever kills a parent kills its horse: that is soon gone, and witnesses nothing any more."""
    for fault in evidence.faults("worker", "both", "horse"):
        since = fault["since"] + _DEAD_SECONDS
        said = [line for line in evidence.lines if line.pid in fault["pids"] and since < line.at < since + 10]
        if fault.get("survived") or said:
            yield {"fault": fault, "said": said}


def exited_by_itself(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Workers and schedulers live on, whatever happens to the others. Those that lost their broker may exit."""
    broken = {pid for one in evidence.faults("failpoint") for pid in one["pids"]}
    outages = [(one["since"], one["till"]) for one in evidence.entries("outage", of="broker")]
    for one in evidence.entries("exited"):
        explained = one["killed"] or one["pid"] in broken
        if not explained and not any(since <= one["at"] <= till + 5 for since, till in outages):
            yield one
