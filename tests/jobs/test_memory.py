"""What a worker, each horse of it and the scheduler carry: nothing that only logins, lists and servers need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
START = """
import importlib, json, pathlib, sys
from jobs import task_types
importlib.import_module(sys.argv[1])
task_types.load(())
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
kilobytes = {line[:5]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "VmRSS"))}
print(json.dumps({"modules": list(sys.modules), **kilobytes}))
"""
LISTS = {"jobs.conditions", "jobs.exports", "jobs.lists", "jobs.sweeps"}
LOGINS = {"argon2", "tenants.accounts", "tenants.passwords"}
SERVERS = {"alembic", "flask", "jinja2", "webapp"}
FREED = 6 * 1024  # kB that may be free again: code that is compiled anew needs some of it for a moment


@pytest.fixture(scope="module", params=["jobs.worker", "jobs.scheduler"])
def started(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A process that has imported what it needs for its work: its modules, and its memory now and at the most."""
    told = subprocess.check_output([sys.executable, "-c", START, request.param], cwd=ROOT, text=True)
    return dict(json.loads(told), process=request.param)


def test_what_takes_tasks_has_loaded_nothing_of_logins_lists_and_servers(started: dict[str, Any]) -> None:
    modules = set(started["modules"])
    assert {started["process"], "jobs.builtin.export"} <= modules
    assert modules & (LISTS | LOGINS | SERVERS) == set()


@pytest.mark.parametrize("started", ["jobs.worker"], indirect=True)
def test_a_worker_loads_no_database_before_it_knows_its_own(started: dict[str, Any]) -> None:
    assert [one for one in started["modules"] if one.startswith("sqlalchemy.dialects.")] == []


def test_its_start_needs_no_more_memory_than_what_it_keeps(started: dict[str, Any]) -> None:
    assert started["VmHWM"] - started["VmRSS"] < FREED, "a peak lasts: it is what a machine must have for each worker"
