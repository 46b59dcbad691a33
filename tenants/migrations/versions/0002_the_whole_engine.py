"""The whole engine: limits, schedules, unique keys, timeouts, and pauses that know when they are settled

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("claim_alone", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("tasks", sa.Column("timeout_seconds", sa.Float(), nullable=True))
    op.add_column("tasks", sa.Column("unique_key", sa.String(length=200), nullable=True))
    op.add_column("tasks", sa.Column("unique_until", sa.DateTime(timezone=True), nullable=True))
    with_key = sa.text("unique_key IS NOT NULL")
    op.create_index(
        "ix_tasks_unique_key",
        "tasks",
        ["business_id", "unique_key", "id"],
        sqlite_where=with_key,
        postgresql_where=with_key,
    )
    if op.get_bind().dialect.name == "postgresql":
        # A task's row is written three times in its life: leave room for that on its page, and clean up early.
        op.execute(
            "ALTER TABLE tasks SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, "
            "autovacuum_analyze_scale_factor = 0.02)"
        )

    op.add_column("pauses", sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE pauses SET settled_at = ended_at")
    op.execute("UPDATE tasks SET state = 'pending' WHERE state = 'paused'")  # the beat marks what is paused again
    op.drop_index("ix_pauses_open", "pauses")
    unsettled = sa.text("settled_at IS NULL")
    op.create_index(
        "ix_pauses_unsettled", "pauses", ["business_id"], sqlite_where=unsettled, postgresql_where=unsettled
    )

    op.drop_index("ix_tasks_paused", "tasks")
    paused = sa.text("state = 'paused'")
    op.create_index(
        "ix_tasks_paused",
        "tasks",
        ["business_id", "queue", sa.text("priority DESC"), "next_try_at", "id"],
        sqlite_where=paused,
        postgresql_where=paused,
    )

    op.create_table(
        "limits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("task_type", sa.String(length=100), nullable=True),
        sa.Column("max_running", sa.Integer(), nullable=False),
        sa.CheckConstraint("max_running >= 0", name=op.f("ck_limits_max_running")),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.id"], name=op.f("fk_limits_business_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limits")),
        sa.UniqueConstraint("business_id", "task_type", name=op.f("uq_limits_business_id_task_type")),
    )
    of_all_types = sa.text("task_type IS NULL")
    op.create_index(
        "uq_limits_business",
        "limits",
        ["business_id"],
        unique=True,
        sqlite_where=of_all_types,
        postgresql_where=of_all_types,
    )

    op.create_table(
        "schedules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("task_type", sa.String(length=100), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cron", sa.String(length=100), nullable=True),
        sa.Column("interval_seconds", sa.Integer(), nullable=True),
        sa.Column("time_zone", sa.String(length=50), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("catch_up", sa.String(length=10), nullable=False),
        sa.Column("overlap", sa.String(length=10), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.CheckConstraint("(cron IS NULL) <> (interval_seconds IS NULL)", name=op.f("ck_schedules_rhythm")),
        sa.CheckConstraint("catch_up IN ('one', 'none', 'all')", name=op.f("ck_schedules_catch_up")),
        sa.CheckConstraint("overlap IN ('skip', 'queue')", name=op.f("ck_schedules_overlap")),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.id"], name=op.f("fk_schedules_business_id")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_schedules_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("business_id", "id", name=op.f("uq_schedules_business_id_id")),
        sqlite_autoincrement=True,
    )
    has_next = sa.text("next_at IS NOT NULL")
    op.create_index("ix_schedules_next", "schedules", ["next_at"], sqlite_where=has_next, postgresql_where=has_next)

    op.create_table(
        "firings",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("task_id", _BIG, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("outcome IN ('fired', 'skipped', 'missed', 'failed')", name=op.f("ck_firings_outcome")),
        sa.ForeignKeyConstraint(
            ["business_id", "schedule_id"],
            ["schedules.business_id", "schedules.id"],
            name="fk_firings_schedule",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["business_id"], ["businesses.id"], name=op.f("fk_firings_business_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint("schedule_id", "due_at", name=op.f("uq_firings_schedule_id_due_at")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("firings")
    op.drop_table("schedules")
    op.drop_table("limits")
    op.drop_index("ix_pauses_unsettled", "pauses")
    op.create_index(
        "ix_pauses_open",
        "pauses",
        ["business_id"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.drop_column("pauses", "settled_at")
    op.drop_index("ix_tasks_paused", "tasks")
    paused = sa.text("state = 'paused'")
    op.create_index(
        "ix_tasks_paused",
        "tasks",
        ["business_id", sa.text("priority DESC"), "next_try_at", "id"],
        sqlite_where=paused,
        postgresql_where=paused,
    )
    op.drop_index("ix_tasks_unique_key", "tasks")
    for column in ("unique_until", "unique_key", "timeout_seconds", "claim_alone"):
        op.drop_column("tasks", column)
