"""Chaos on every push: a thousand tasks, ten kill -9 and a flush on each database, judged by the oracle.

The run is a process of its own, so that its task types and threads stay out of the other tests. Its output names the
seed that repeats it, and every breach with its evidence.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import dying_with_me

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 120


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_is_lost_or_doubled_while_processes_are_killed(database: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.chaos"],
        cwd=ROOT,
        env={**os.environ, "PROFILE": "push", "DATABASES": database},
        preexec_fn=dying_with_me(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
