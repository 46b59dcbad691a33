"""The tasks of a reference in order, by the index that finds them

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_HAS_ONE = sa.text("ref IS NOT NULL")


def _replace(columns: list[str]) -> None:
    op.drop_index("ix_tasks_ref", "tasks")
    op.create_index("ix_tasks_ref", "tasks", columns, sqlite_where=_HAS_ONE, postgresql_where=_HAS_ONE)


def upgrade() -> None:
    _replace(["business_id", "ref", "id"])


def downgrade() -> None:
    _replace(["business_id", "ref"])
