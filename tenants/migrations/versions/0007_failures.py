"""Failures grouped by type and error; the beat puts the failed tasks that are there already into their groups

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_HAS_FAILED = sa.text("failure_id IS NOT NULL")


def _by_code_point(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("task_type", _by_code_point(100), nullable=False),
        sa.Column("kind", _by_code_point(100), nullable=False),
        sa.Column("message", _by_code_point(200), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_by", sa.Integer(), nullable=True),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('open', 'resolved', 'ignored')", name=op.f("ck_failures_state")),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.id"], name=op.f("fk_failures_business_id")),
        sa.ForeignKeyConstraint(["changed_by"], ["users.id"], name=op.f("fk_failures_changed_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failures")),
        sa.UniqueConstraint(
            "business_id", "task_type", "kind", "message", name=op.f("uq_failures_business_id_task_type_kind_message")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_failures_last", "failures", ["business_id", "state", "last_at", "id"])
    op.add_column("tasks", sa.Column("failure_id", sa.BigInteger(), nullable=True))
    op.execute("UPDATE tasks SET failure_id = 0 WHERE state = 'failed'")
    op.create_index(
        "ix_tasks_failure",
        "tasks",
        ["business_id", "failure_id", "created_at", "id"],
        sqlite_where=_HAS_FAILED,
        postgresql_where=_HAS_FAILED,
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_failure", "tasks")
    op.drop_column("tasks", "failure_id")
    op.drop_table("failures")
