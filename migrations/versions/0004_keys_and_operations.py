"""Keys of named queues, work on many tasks at once, nodes that are asked to drain, and who submitted a task.

Only new tables, and new columns that may be empty: code of schema 0003 goes on working beside it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jobrunner.db.types import Id, JsonText, UTCDateTime

revision = "0004"
down_revision = "0003"

COLUMNS = (
    ("tasks", sa.Column("submitted_by", sa.Text())),
    ("api_keys", sa.Column("queues", JsonText())),
    ("api_keys", sa.Column("rate", sa.Float())),
    ("api_keys", sa.Column("replaces", sa.Text())),
    ("nodes", sa.Column("drain_requested_at", UTCDateTime())),
    ("nodes", sa.Column("pools", JsonText())),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "operations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("chosen", JsonText(), nullable=False),
        sa.Column("queues", JsonText()),
        sa.Column("dry_run", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("state", sa.Text(), nullable=False, server_default="running"),
        sa.Column("matched", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("changed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("unchanged", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("upto", Id),
        sa.Column("after", Id, nullable=False, server_default="0"),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("ended_at", UTCDateTime()),
        sa.CheckConstraint("state IN ('running', 'done', 'aborted')", name=op.f("ck_operations_state")),
        sa.CheckConstraint("(state = 'running') = (ended_at IS NULL)", name=op.f("ck_operations_ended_has_time")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "ix_operations_running", "operations", ["created_at"], postgresql_where=running, sqlite_where=running
    )


def downgrade() -> None:
    op.drop_table("operations")
    op.drop_index("ix_audit_at", table_name="audit")
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)
