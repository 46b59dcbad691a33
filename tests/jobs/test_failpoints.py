"""Each step of the engine broken once in each way, under load, on both databases: nothing is lost or doubled.

A step is what happens round a COMMIT or between two calls of Redis; see `tests/failpoints.py`. All points of a database
break in one run, since they mostly wait: for leases, and for processes that start again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import dying_with_me
from tests import failpoints

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 240  # on a machine that is busy with others; 60 on a quiet one


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_tasks_end_well_when_every_step_is_broken_once_in_each_way(database: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.chaos.breaking", database],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "FAIL"},
        preexec_fn=dying_with_me(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


def test_a_process_without_fail_is_as_it_always_is() -> None:
    """This very process has loaded the module."""
    assert not hasattr(failpoints.claims.claim, "__wrapped__")
