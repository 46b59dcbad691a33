"""What the environment says about this run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "var" / "peers" / "bin"
PRODUCT = ROOT / "var" / "product" / "bin" / "python"  # what an installation has, without what tests need
RESULTS = ROOT / "bench" / "results"

SCENARIOS = ("drain", "pickup", "submit", "pause", "fairness", "memory", "growth", "pages", "dashboards")


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    scenarios: tuple[str, ...]
    rounds: int
    discarded: int
    tasks: int
    workers: int
    rows: int
    quick: bool

    @classmethod
    def from_env(cls) -> Settings:
        """BENCH, ROUNDS, TASKS, WORKERS, ROWS and QUICK."""
        quick = os.environ.get("QUICK", "") not in ("", "0")
        asked = os.environ.get("BENCH", "").replace("pick-up", "pickup").split()
        unknown = set(asked) - set(SCENARIOS)
        if unknown:
            raise SystemExit(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
        return cls(
            scenarios=tuple(asked) or SCENARIOS,
            rounds=int(os.environ.get("ROUNDS") or (1 if quick else 5)),
            discarded=0 if quick else 1,
            tasks=int(os.environ.get("TASKS") or (4_000 if quick else 40_000)),
            workers=int(os.environ.get("WORKERS") or 2),
            rows=int(os.environ.get("ROWS") or (20_000 if quick else 1_000_000)),
            quick=quick,
        )

    def scaled(self, number: int, quick: int) -> int:
        """A number of tasks that TASKS does not change."""
        return quick if self.quick else number
