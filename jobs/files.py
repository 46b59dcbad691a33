"""The files that exports made: each goes when its task goes. `jobs.exports` writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.orm import Session

from config import Config
from tenants.database import on_commit

EXPORT = "tasks.export"


def path_of(data_dir: Path, business: str, task_id: int, kind: str = "csv") -> Path:
    """Where the export of a task lies."""
    return data_dir / "exports" / business / f"tasks-{task_id}.{kind}"


def forget(session: Session, removed: Iterable[tuple[int, str]]) -> None:
    """Remove the files of tasks (id, type) that are removed for good, once that is committed. Others have none."""
    for id_, task_type in removed:
        if task_type == EXPORT:
            on_commit(session, ("forget the file", id_), lambda id_=id_: _remove(id_))  # type: ignore[misc]


def _remove(task_id: int) -> None:
    """In whichever business, since ids are never given twice."""
    for path in (Config.from_env().data_dir / "exports").glob(f"*/tasks-{task_id}.*"):
        path.unlink(missing_ok=True)
