"""`script.execute`: runs a script from the folders that SCRIPT_DIRS allows, with its output on the task."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from config import Config
from jobs.context import TaskContext
from jobs.task_types import task_type
from processes import dying_with_me

_LINE_CHARACTERS = 4_000
_ROOT = Path(__file__).parents[2]


class UnknownScript(Exception):
    """No executable file of this name is in the folders that SCRIPT_DIRS allows."""


class ScriptFailed(Exception):
    """The script ended with a status other than 0."""


@task_type("script.execute", title="Run script", queue="scripts")
def execute(task: TaskContext, *, script: str, arguments: list[str] | None = None) -> dict[str, int]:
    """Run a script by its file's name. Each line that it prints is a line of the task's log."""
    config = Config.from_env()
    path = scripts(config).get(script)
    if path is None:
        raise UnknownScript(f"{UnknownScript.__doc__} ({script!r})")
    lines = 0
    with (
        task.step(f"Running {script}"),
        subprocess.Popen(
            [path, *(arguments or [])],
            cwd=_ROOT,
            env=_environment(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=dying_with_me(),  # noqa: PLW1509 - one system call, of a library loaded before
        ) as process,
    ):
        try:
            for line in _lines(process):
                task.log(line.rstrip("\n"))
                lines += 1
        except BaseException:  # above all an interrupt
            process.terminate()
            raise
    if process.returncode:
        raise ScriptFailed(f"{script} ended with status {process.returncode}.")
    return {"exit_status": 0, "lines": lines}


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Its output by lines, of which one without an end comes in pieces."""
    return iter(functools.partial(cast("TextIO", process.stdout).readline, _LINE_CHARACTERS), "")


def scripts(config: Config) -> dict[str, Path]:
    """The scripts that may run, by name: files of the allowed folders themselves, so that no path leads elsewhere."""
    files = (file for folder in config.script_dirs if folder.is_dir() for file in sorted(folder.iterdir()))
    return {file.name: file for file in files if file.is_file() and os.access(file, os.X_OK)}


def _environment(config: Config) -> dict[str, str]:
    """What a script gets to know: where the data lie, and our own Python first. Not our secrets."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        "PATH": path,
        "PYTHONPATH": str(_ROOT),
        "LANG": "C.UTF-8",
        "DATA_DIR": str(config.data_dir.absolute()),
        "DATABASE_URL": config.database_url,
    }
