"""One index of attempts fewer: the one that tells their numbers apart finds those of a task, too

Revision: 0008, after 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_attempts_task", "attempts")


def downgrade() -> None:
    op.create_index("ix_attempts_task", "attempts", ["business_id", "task_id"])
