"""The task types that ship: they do real work on real input."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from config import Config
from jobs import deletions, files, retention, submit, tasks
from jobs.builtin import script
from jobs.models import Attempt, Entry, Task
from tenants.clock import clock
from tenants.database import transaction
from tests import look
from tests.factories import Cast

Work = Callable[..., None]
BEN = "ben@example.com"


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url)
    return tmp_path


def last_attempt(id_: int) -> Attempt:
    return look.scalar(select(Attempt).where(Attempt.task_id == id_).order_by(Attempt.number.desc()).limit(1))


def lines(id_: int) -> list[str]:
    return look.scalars(select(Entry.text).where(Entry.task_id == id_).order_by(Entry.id))


def exported(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_counting_reports_its_progress(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("test.count", business="acme", user=BEN, payload={"times": 1})
    work("default")
    task = look.task(id_)
    assert (task.state, task.progress_done, task.progress_total) == ("completed", 1, 1)
    assert last_attempt(id_).result == {"counted": 50}


def test_an_export_holds_what_its_user_may_see(db: Session, cast: Cast, work: Work, data_dir: Path) -> None:
    submit("test.note", business="acme", user=BEN, title="=1+1")
    submit("test.note", business="acme", user="cleo@example.com")
    submit("test.note", business="globex", user="ada@example.com")
    bens, adas = (submit("tasks.export", business="acme", user=f"{name}@example.com") for name in ("ben", "ada"))
    work("exports")
    rows = exported(files.path_of(data_dir, "acme", bens))
    assert {row["user"] for row in rows} == {"Ben Ito"}
    assert rows[0]["title"] == "'=1+1", "a spreadsheet must not run it"
    everybody = exported(files.path_of(data_dir, "acme", adas))
    assert {row["user"] for row in everybody} == {"Ben Ito", "Cleo Marsh", "Ada Lovelace"}
    assert last_attempt(adas).result == {"file": f"tasks-{adas}.csv", "rows": 4}


def test_an_export_as_json_is_for_programs(db: Session, cast: Cast, work: Work, data_dir: Path) -> None:
    first = submit("test.note", business="acme", user=BEN, title='=1+1 "ü"')
    second = submit("test.note", business="acme", user=BEN)
    submit("test.note", business="acme", user="cleo@example.com")
    as_json = {"format": "json", "filter": {"type": "test.note"}}
    id_, none = (
        submit("tasks.export", business="acme", user=BEN, payload=asked)
        for asked in (as_json, {**as_json, "filter": {"q": "nobody"}})
    )
    work("exports")
    found = json.loads(files.path_of(data_dir, "acme", id_, "json").read_text(encoding="utf-8"))
    assert [row["id"] for row in found] == [first, second]
    assert found[0]["title"] == '=1+1 "ü"', "no spreadsheet runs it"
    assert (found[1]["title"], found[1]["started"], found[1]["attempts"]) == (None, None, 0)
    assert json.loads(files.path_of(data_dir, "acme", none, "json").read_text()) == []
    assert last_attempt(id_).result == {"file": f"tasks-{id_}.json", "rows": 2}


@pytest.mark.parametrize("how", ["undo over", "at once", "retention", "undone"])
def test_the_file_goes_when_its_task_is_gone(db: Session, cast: Cast, work: Work, data_dir: Path, how: str) -> None:
    id_, other = (submit("tasks.export", business="acme", user=BEN) for _ in range(2))
    work("exports")
    path, others = (files.path_of(data_dir, "acme", one) for one in (id_, other))
    with transaction() as session:
        if how == "at once":
            tasks.delete(session, cast.ben, id_)
        elif how == "retention":
            session.execute(update(Task).where(Task.id == id_).values(created_at=clock(-9e6), ended_at=clock(-9e6)))
            retention.forget_tasks(session, cast.acme.id, 30)
        else:
            deletions.begin(session, cast.ben, id_)
        assert path.exists(), "nothing is committed yet"
    if how.startswith("undo"):
        assert path.exists()
        with transaction() as session:
            if how == "undone":
                deletions.undo(session, cast.ben, id_)
            session.execute(update(Task).where(Task.undo_until.is_not(None)).values(undo_until=clock(-1)))
        with transaction() as session:
            deletions.finish(session)
    assert path.exists() is (how == "undone")
    assert others.exists()


def test_an_export_keeps_to_its_filter(db: Session, cast: Cast, work: Work, data_dir: Path) -> None:
    submit("test.note", business="acme", user=BEN)
    submit("test.fail", business="acme", user=BEN)
    work("default")
    id_ = submit("tasks.export", business="acme", user="ada@example.com", payload={"filter": {"state": "failed"}})
    work("exports")
    assert [row["task type"] for row in exported(files.path_of(data_dir, "acme", id_))] == ["test.fail"]


def test_an_export_without_a_user_fails_with_the_reason(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("tasks.export", business="acme")
    work("exports")
    assert look.task(id_).state == "failed"
    assert "needs a user" in str(last_attempt(id_).error)


def test_the_size_report_measures_this_database(db: Session, cast: Cast, work: Work) -> None:
    id_ = submit("script.execute", business="acme", payload={"script": "report_sizes"})
    work("scripts")
    assert look.task(id_).state == "completed", last_attempt(id_).error
    said = "\n".join(lines(id_))
    kind = "postgresql" if os.environ["DATABASE_URL"].startswith("postgresql") else "sqlite"
    assert f"Database ({kind})" in said
    assert "businesses: 3 rows" in said


def test_old_exports_are_pruned_and_young_ones_stay(db: Session, cast: Cast, work: Work, data_dir: Path) -> None:
    old, young = (data_dir / "exports" / "acme" / f"tasks-{number}.csv" for number in (1, 2))
    for path in (old, young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.utime(old, (0, time.time() - 9 * 86_400))
    id_ = submit("script.execute", business="acme", payload={"script": "prune_exports", "arguments": ["7"]})
    work("scripts")
    assert look.task(id_).state == "completed"
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"script": "prune_exports", "arguments": ["soon"]}, "ended with status 2"),
        ({"script": "../script.py"}, "No executable file"),
        ({"script": "/bin/sh"}, "No executable file"),
        ({"script": "no_such"}, "No executable file"),
    ],
)
def test_a_script_that_fails_or_is_not_allowed_says_so(
    db: Session, cast: Cast, work: Work, payload: dict[str, object], reason: str
) -> None:
    id_ = submit("script.execute", business="acme", payload=payload)
    work("scripts")
    assert look.task(id_).state == "failed"
    assert reason in str(last_attempt(id_).error)


def test_only_executable_files_of_the_allowed_folders_are_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, mode in (("runs", 0o755), ("reads", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SCRIPT_DIRS", f"{tmp_path},{tmp_path}/missing")
    assert set(script.scripts(Config.from_env())) == {"runs"}
