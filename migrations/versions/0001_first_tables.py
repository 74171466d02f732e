"""The first tables: the queue, its nodes, schedules and keys, and the bars that imports write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from jobrunner.db.types import Id, JsonText, Name, UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", JsonText(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("used_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "audit",
        sa.Column("id", Id, sa.Identity(always=False), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("details", JsonText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "firings",
        sa.Column("schedule", Name, nullable=False),
        sa.Column("fire_at", UTCDateTime(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("fired_at", UTCDateTime(), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("manual", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "fire_at", name=op.f("pk_firings")),
    )
    op.create_table(
        "import_loads",
        sa.Column("load_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("freq", sa.Text(), nullable=False),
        sa.Column("request", JsonText(), nullable=False),
        sa.Column("symbols", sa.Integer(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("load_id", name=op.f("pk_import_loads")),
    )
    op.create_index("ix_import_loads_task", "import_loads", ["task_id"], unique=False)
    op.create_table(
        "market_bars",
        sa.Column("source", Name, nullable=False),
        sa.Column("symbol", Name, nullable=False),
        sa.Column("freq", sa.Text(), nullable=False),
        sa.Column("adjust", sa.Text(), nullable=False),
        sa.Column("ts", UTCDateTime(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("open", sa.Float(precision=53), nullable=False),
        sa.Column("high", sa.Float(precision=53), nullable=False),
        sa.Column("low", sa.Float(precision=53), nullable=False),
        sa.Column("close", sa.Float(precision=53), nullable=False),
        sa.Column("volume", sa.Float(precision=53), nullable=True),
        sa.Column("amount", sa.Float(precision=53), nullable=True),
        sa.Column("open_interest", sa.Float(precision=53), nullable=True),
        sa.Column("settle", sa.Float(precision=53), nullable=True),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.Column("load_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("source", "symbol", "freq", "adjust", "ts", name=op.f("pk_market_bars")),
    )
    op.create_index("ix_market_bars_symbol", "market_bars", ["symbol", "freq", "ts"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("queues", JsonText(), nullable=True),
        sa.Column("types", JsonText(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), server_default="0", nullable=False),
        sa.Column("stuck", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("busy_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("cpu_percent", sa.Float(), server_default="0", nullable=False),
        sa.Column("memory_percent", sa.Float(), server_default="0", nullable=False),
        sa.Column("disk_percent", sa.Float(), server_default="0", nullable=False),
        sa.Column("load", sa.Float(), server_default="0", nullable=False),
        sa.Column("rss", Id, server_default="0", nullable=False),
        sa.Column("cpu_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("memory_total", Id, server_default="0", nullable=False),
        sa.Column("heartbeat_interval", sa.Float(), server_default="10", nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("heartbeat_at", UTCDateTime(), nullable=False),
        sa.Column("stopped_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "state IN ('active', 'overloaded', 'draining', 'stuck', 'stopped')", name=op.f("ck_nodes_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
    )
    op.create_index("ix_nodes_heartbeat", "nodes", ["heartbeat_at"], unique=False)
    op.create_table(
        "queues",
        sa.Column("name", Name, nullable=False),
        sa.Column("paused_at", UTCDateTime(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("max_pending", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
    )
    op.create_table(
        "schedules",
        sa.Column("name", Name, nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("every", sa.Float(), nullable=True),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("anchor", UTCDateTime(), nullable=False),
        sa.Column("task_type", Name, nullable=False),
        sa.Column("payload", JsonText(), nullable=False),
        sa.Column("queue", Name, server_default="default", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="5", nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=True),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("declared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("next_at", UTCDateTime(), nullable=True),
        sa.Column("fired_at", UTCDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint("(cron IS NULL) <> (every IS NULL)", name=op.f("ck_schedules_cron_or_every")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )
    op.create_index(
        "ix_schedules_next",
        "schedules",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("NOT paused AND next_at IS NOT NULL"),
        sqlite_where=sa.text("NOT paused AND next_at IS NOT NULL"),
    )
    op.create_table(
        "schema_info",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_schema_info")),
    )
    op.create_table(
        "task_types",
        sa.Column("name", Name, nullable=False),
        sa.Column("schema", JsonText(), nullable=False),
        sa.Column("queue", Name, nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("published_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_task_types")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", Id, sa.Identity(always=False), nullable=False),
        sa.Column("task_id", Name, nullable=False),
        sa.Column("task_type", Name, nullable=False),
        sa.Column("payload", JsonText(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("queue", Name, server_default="default", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="5", nullable=False),
        sa.Column("run_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="3", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("releases", sa.Integer(), server_default="0", nullable=False),
        sa.Column("snoozes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("lease_until", UTCDateTime(), nullable=True),
        sa.Column("node_id", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", UTCDateTime(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("result", JsonText(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parent_id", Id, nullable=True),
        sa.Column("unique_key", Name, nullable=True),
        sa.Column("concurrency_key", Name, nullable=True),
        sa.Column("tags", JsonText(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.CheckConstraint("(status = 'running') = (token IS NOT NULL)", name=op.f("ck_tasks_running_has_token")),
        sa.CheckConstraint(
            "(status IN ('pending', 'running')) = (finished_at IS NULL)", name=op.f("ck_tasks_ended_has_time")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name=op.f("ck_tasks_status")
        ),
        sa.CheckConstraint("(token IS NULL) = (lease_until IS NULL)", name=op.f("ck_tasks_token_has_lease")),
        sa.CheckConstraint("length(task_id) BETWEEN 1 AND 200", name=op.f("ck_tasks_task_id")),
        sa.CheckConstraint("max_attempts >= 1", name=op.f("ck_tasks_max_attempts")),
        sa.CheckConstraint("priority BETWEEN 1 AND 10", name=op.f("ck_tasks_priority")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("task_id", name=op.f("uq_tasks_task_id")),
    )
    op.create_index(
        "ix_tasks_due",
        "tasks",
        ["queue", "task_type", "priority", "run_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_tasks_ended",
        "tasks",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_unwell",
        "tasks",
        ["status", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('failed', 'cancelled')"),
        sqlite_where=sa.text("status IN ('failed', 'cancelled')"),
    )
    op.create_index(
        "ix_tasks_expiring",
        "tasks",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' AND expires_at IS NOT NULL"),
        sqlite_where=sa.text("status = 'pending' AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_leases",
        "tasks",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
        sqlite_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_tasks_parent",
        "tasks",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
        sqlite_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "uq_tasks_open_unique_key",
        "tasks",
        ["unique_key"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'running')"),
        sqlite_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", Id, sa.Identity(always=False), nullable=False),
        sa.Column("task", Id, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("ended_at", UTCDateTime(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("exit_signal", sa.Integer(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("peak_rss", Id, nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_attempts_task_tasks"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("task", "attempt", name=op.f("uq_attempts_task")),
    )
    op.create_table(
        "import_outcomes",
        sa.Column("load_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rows_read", sa.Integer(), nullable=False),
        sa.Column("inserted", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("first_session", sa.Date(), nullable=True),
        sa.Column("last_session", sa.Date(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("warnings", JsonText(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["load_id"],
            ["import_loads.load_id"],
            name=op.f("fk_import_outcomes_load_id_import_loads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("load_id", "symbol", name=op.f("pk_import_outcomes")),
    )
    op.create_table(
        "import_rejects",
        sa.Column("id", Id, sa.Identity(always=False), nullable=False),
        sa.Column("load_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("row", JsonText(), nullable=False),
        sa.ForeignKeyConstraint(
            ["load_id"],
            ["import_loads.load_id"],
            name=op.f("fk_import_rejects_load_id_import_loads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_rejects")),
    )
    op.create_index("ix_import_rejects_load", "import_rejects", ["load_id", "symbol"], unique=False)
    op.create_table(
        "node_samples",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("cpu_percent", sa.Float(), nullable=False),
        sa.Column("memory_percent", sa.Float(), nullable=False),
        sa.Column("rss", Id, nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_node_samples_node_id_nodes"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("node_id", "at", name=op.f("pk_node_samples")),
    )
    op.create_index("ix_node_samples_at", "node_samples", ["at"], unique=False)
    op.create_table(
        "task_logs",
        sa.Column("id", Id, sa.Identity(always=False), nullable=False),
        sa.Column("task", Id, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("fields", JsonText(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_task_logs_task_tasks"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_logs")),
    )
    op.create_index("ix_task_logs_task", "task_logs", ["task", "id"], unique=False)
    op.execute("INSERT INTO schema_info (key, value) VALUES ('oldest_code', '1')")


def downgrade() -> None:
    op.drop_index("ix_task_logs_task", table_name="task_logs")
    op.drop_table("task_logs")
    op.drop_index("ix_node_samples_at", table_name="node_samples")
    op.drop_table("node_samples")
    op.drop_index("ix_import_rejects_load", table_name="import_rejects")
    op.drop_table("import_rejects")
    op.drop_table("import_outcomes")
    op.drop_table("attempts")
    op.drop_index(
        "uq_tasks_open_unique_key",
        table_name="tasks",
        postgresql_where=sa.text("status IN ('pending', 'running')"),
        sqlite_where=sa.text("status IN ('pending', 'running')"),
    )
    op.drop_index(
        "ix_tasks_parent",
        table_name="tasks",
        postgresql_where=sa.text("parent_id IS NOT NULL"),
        sqlite_where=sa.text("parent_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_tasks_leases",
        table_name="tasks",
        postgresql_where=sa.text("status = 'running'"),
        sqlite_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_tasks_expiring",
        table_name="tasks",
        postgresql_where=sa.text("status = 'pending' AND expires_at IS NOT NULL"),
        sqlite_where=sa.text("status = 'pending' AND expires_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_tasks_unwell",
        table_name="tasks",
        postgresql_where=sa.text("status IN ('failed', 'cancelled')"),
        sqlite_where=sa.text("status IN ('failed', 'cancelled')"),
    )
    op.drop_index(
        "ix_tasks_ended",
        table_name="tasks",
        postgresql_where=sa.text("finished_at IS NOT NULL"),
        sqlite_where=sa.text("finished_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_tasks_due",
        table_name="tasks",
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
    )
    op.drop_table("tasks")
    op.drop_table("task_types")
    op.drop_table("schema_info")
    op.drop_index(
        "ix_schedules_next",
        table_name="schedules",
        postgresql_where=sa.text("NOT paused AND next_at IS NOT NULL"),
        sqlite_where=sa.text("NOT paused AND next_at IS NOT NULL"),
    )
    op.drop_table("schedules")
    op.drop_table("queues")
    op.drop_index("ix_nodes_heartbeat", table_name="nodes")
    op.drop_table("nodes")
    op.drop_index("ix_market_bars_symbol", table_name="market_bars")
    op.drop_table("market_bars")
    op.drop_index("ix_import_loads_task", table_name="import_loads")
    op.drop_table("import_loads")
    op.drop_table("firings")
    op.drop_table("audit")
    op.drop_table("api_keys")
