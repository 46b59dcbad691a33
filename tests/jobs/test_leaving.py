"""A script that submits and ends: its workers are woken all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from jobs import queue
from tests.factories import Cast

_SCRIPT = """
import os
from jobs import queue, submit, task_types
from tenants.database import connect

connect(os.environ["DATABASE_URL"])
queue.connect(os.environ["REDIS_URL"])
task_types.load(("tests.task_types",))
submit("test.note", business="acme")
"""


def test_a_script_that_ends_at_once_has_woken_the_workers(database_url: str, valkey: str, cast: Cast) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": valkey}
    for _ in range(3):
        queue.connection().flushall()
        subprocess.run([sys.executable, "-c", _SCRIPT], cwd=Path(__file__).parents[2], env=environment, check=True)
        assert queue.turns_queued("default") == 1
