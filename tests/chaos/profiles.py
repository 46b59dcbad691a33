"""How much of what a chaos run does: the short one of every push, and the long one of `make chaos`."""

from __future__ import annotations

import dataclasses
import os
import random
from dataclasses import dataclass

GRACE_SECONDS = 1.0  # half of what a deaf handler takes: an interrupt of one ends by force
FLAKY_SECONDS = 0.3  # what `chaos.flaky` asks to be waited before its second attempt


@dataclass(frozen=True)
class Profile:
    """Numbers of a run. `backlog` is how many tasks may wait before the driver submits more."""

    name: str
    tasks: int
    kills: int
    flushes: int
    pauses: int
    interrupts: int
    poison: int
    deaf: int
    broker_kills: int = 0
    database_strikes: int = 0
    zombies: int = 0
    workers: int = 4
    schedulers: int = 1
    backlog: int = 150
    lease_seconds: float = 10.0
    heartbeat_seconds: float = 3.0
    beat_seconds: float = 1.0
    horse_notice_seconds: float = 1.0
    worker_notice_seconds: float = 15.0
    again_seconds: float = 20.0
    drain_seconds: float = 180.0

    def settings(self) -> dict[str, str]:
        """The environment of its workers and schedulers."""
        return {
            "LEASE_SECONDS": str(self.lease_seconds),
            "HEARTBEAT_SECONDS": str(self.heartbeat_seconds),
            "BEAT_SECONDS": str(self.beat_seconds),
            "GRACE_SECONDS": str(GRACE_SECONDS),
        }


PUSH = Profile(
    name="push",
    tasks=1000,
    kills=10,
    flushes=1,
    pauses=4,
    interrupts=10,
    poison=2,
    deaf=4,
    lease_seconds=3.0,
    heartbeat_seconds=1.0,
    worker_notice_seconds=6.0,  # lease, beat and two seconds more
    drain_seconds=40.0,
)
LONG = Profile(
    name="long",
    tasks=10_000,
    kills=50,
    flushes=3,
    pauses=20,
    interrupts=200,
    poison=5,
    deaf=100,
    broker_kills=2,
    database_strikes=2,
    zombies=8,
    schedulers=2,
    backlog=400,
)


def from_env() -> tuple[Profile, int]:
    """What PROFILE, TASKS and SEED say; without SEED another one each time."""
    profile = {"push": PUSH, "long": LONG}[os.environ.get("PROFILE", "long")]
    if "TASKS" in os.environ:
        tasks = int(os.environ["TASKS"])
        profile = dataclasses.replace(profile, tasks=tasks, deaf=profile.deaf * tasks // profile.tasks)
    return profile, int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
