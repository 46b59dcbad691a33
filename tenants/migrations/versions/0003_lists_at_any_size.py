"""Lists at any size: columns and indexes to sort by, and links from a task to its parent, its first run and a thing

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BY_CODE_POINT = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
_WAITS = "state || '' IN ('paused', 'pending')"
_IS_FINAL = "state IN ('canceled', 'completed', 'failed')"
_PARTIAL = {
    "ix_tasks_undo": (["undo_until"], "undo_until IS NOT NULL"),
    "ix_tasks_parent": (["business_id", "parent_id"], "parent_id IS NOT NULL"),
    "ix_tasks_rerun": (["business_id", "rerun_of"], "rerun_of IS NOT NULL"),
    "ix_tasks_ref": (["business_id", "ref"], "ref IS NOT NULL"),
    "ix_tasks_cancelling": (["business_id", "id"], "state = 'cancelling'"),
    "ix_tasks_waiting": (["business_id", "id"], _WAITS),
    "ix_tasks_waiting_created": (["business_id", "created_at", "id"], _WAITS),
    "ix_tasks_waiting_type": (["business_id", "task_type", "id"], _WAITS),
    "ix_tasks_waiting_title": (["business_id", "sort_title", "id"], f"{_WAITS} AND title IS NOT NULL"),
    "ix_tasks_waiting_untitled": (["business_id", "id"], f"{_WAITS} AND title IS NULL"),
    "ix_tasks_waiting_priority": (["business_id", "priority", "id"], f"{_WAITS} AND priority <> 0"),
    "ix_tasks_waiting_attempts": (["business_id", "attempts", "id"], f"{_WAITS} AND attempts > 0"),
    "ix_tasks_final_created": (["business_id", "created_at", "id"], _IS_FINAL),
    "ix_tasks_final_state": (["business_id", "state", "id"], _IS_FINAL),
}


def upgrade() -> None:
    op.add_column("tasks", sa.Column("parent_id", sa.BigInteger(), nullable=True))
    op.add_column("tasks", sa.Column("rerun_of", sa.BigInteger(), nullable=True))
    op.add_column("tasks", sa.Column("ref", sa.String(200), nullable=True))
    op.add_column("tasks", sa.Column("undo_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("sort_title", _BY_CODE_POINT, nullable=False, server_default=""))
    op.add_column("users", sa.Column("sort_name", _BY_CODE_POINT, nullable=False, server_default=""))
    # The titles of types are known to handlers' modules only, so a task of before that has none sorts by its type.
    op.execute("UPDATE tasks SET sort_title = substr(lower(coalesce(title, task_type)), 1, 200)")
    users = sa.table("users", sa.column("id"), sa.column("name"), sa.column("sort_name"))
    for id_, name in op.get_bind().execute(sa.select(users.c.id, users.c.name)).all():
        op.execute(users.update().where(users.c.id == id_).values(sort_name=name.lower()))
    op.create_index("ix_users_sort_name", "users", ["sort_name", "id"])
    for name, (columns, where) in _PARTIAL.items():
        op.create_index(name, "tasks", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_index("ix_tasks_title", "tasks", ["business_id", "sort_title", "id"])
    op.drop_index("ix_tasks_created", "tasks")


def downgrade() -> None:
    # What waits for its time to be undone would stay Cancelling, or in lists, for ever.
    op.execute("DELETE FROM tasks WHERE undo_until IS NOT NULL AND state <> 'cancelling'")
    op.execute("UPDATE tasks SET state = 'canceled', ended_at = undo_until WHERE undo_until IS NOT NULL")
    op.create_index("ix_tasks_created", "tasks", ["business_id", "created_at", "id"])
    op.drop_index("ix_tasks_title", "tasks")
    for name in _PARTIAL:
        op.drop_index(name, "tasks")
    op.drop_index("ix_users_sort_name", "users")
    op.drop_column("users", "sort_name")
    for column in ("undo_until", "sort_title", "ref", "rerun_of", "parent_id"):
        op.drop_column("tasks", column)
