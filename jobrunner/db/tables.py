"""The queue's tables: columns, checks and indexes, each with its reason. No queries.

The tables of imports stand in :mod:`jobrunner.db.market`; both share ``METADATA``, with which tests compare what the
migrations made.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)

from jobrunner.db.types import Id, JsonText, Name, UTCDateTime

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    }
)


# Conditions of partial indexes, in the very words by which queries ask for them.
NOT_FAILED, FAILED = "status IN ('completed', 'cancelled')", "status = 'failed'"


def _where(condition: str) -> dict[str, Any]:
    """A partial index on both databases."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


tasks = Table(
    "tasks",
    METADATA,
    Column("id", Id, Identity(), primary_key=True),
    Column("task_id", Name, nullable=False, unique=True),
    Column("task_type", Name, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("queue", Name, nullable=False, server_default="default"),
    Column("priority", SmallInteger, nullable=False, server_default="5"),
    Column("run_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime),
    Column("timeout", Float),
    Column("status", Text, nullable=False, server_default="pending"),
    _count("generation"),
    _count("attempt"),
    Column("max_attempts", Integer, nullable=False, server_default="3"),
    _count("failures"),
    _count("crashes"),
    _count("losses"),
    _count("releases"),
    _count("snoozes"),
    Column("token", Text),
    Column("lease_until", UTCDateTime),
    Column("node_id", Text),
    Column("cancel_requested_at", UTCDateTime),
    Column("progress", Float),
    Column("message", Text),
    Column("result", JsonText),
    Column("error", Text),
    Column("parent_id", Id),
    Column("unique_key", Name),
    Column("concurrency_key", Name),
    Column("tags", JsonText),
    Column("traceparent", Text),
    Column("submitted_by", Text),
    Column("created_at", UTCDateTime, nullable=False),
    Column("started_at", UTCDateTime),
    Column("finished_at", UTCDateTime),
    CheckConstraint("status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name="status"),
    CheckConstraint("(status = 'running') = (token IS NOT NULL)", name="running_has_token"),
    CheckConstraint("(token IS NULL) = (lease_until IS NULL)", name="token_has_lease"),
    CheckConstraint("(status IN ('pending', 'running')) = (finished_at IS NULL)", name="ended_has_time"),
    CheckConstraint("priority BETWEEN 1 AND 10", name="priority"),
    CheckConstraint("length(task_id) BETWEEN 1 AND 200", name="task_id"),
    CheckConstraint("max_attempts >= 1", name="max_attempts"),
    # The claim probes each (queue, type, priority): with a plain (priority, run_at, id) a million urgent tasks that
    # are due tomorrow made a claim 30 times dearer, and a million of a type that nobody here knows likewise.
    Index("ix_tasks_due", "queue", "task_type", "priority", "run_at", "id", **_where("status = 'pending'")),
    Index("ix_tasks_leases", "lease_until", **_where("status = 'running'")),
    # Two, since failed tasks are kept longer: pruning the others would walk over all of them each time.
    Index("ix_tasks_ended", "finished_at", **_where(NOT_FAILED)),
    Index("ix_tasks_failed", "finished_at", **_where(FAILED)),
    Index("ix_tasks_unwell", "status", "id", **_where("status IN ('failed', 'cancelled')")),
    # Pending in other words, or ix_tasks_due would serve as well, and be taken where little was pending lately.
    Index(
        "ix_tasks_expiring", "expires_at", **_where("expires_at IS NOT NULL AND token IS NULL AND finished_at IS NULL")
    ),
    # NULL needs no uniqueness, and each of its entries would be made again by every claim.
    Index(
        "uq_tasks_open_unique_key",
        "unique_key",
        unique=True,
        **_where("unique_key IS NOT NULL AND status IN ('pending', 'running')"),
    ),
    Index("ix_tasks_parent", "parent_id", **_where("parent_id IS NOT NULL")),
)

# Spelled out, not bound: a plan that serves all values does not see that a partial index serves this one.
PENDING = tasks.c.status == literal_column("'pending'")
RUNNING = tasks.c.status == literal_column("'running'")
MAY_EXPIRE = and_(tasks.c.expires_at.is_not(None), tasks.c.token.is_(None), tasks.c.finished_at.is_(None))

attempts = Table(
    "attempts",
    METADATA,
    Column("id", Id, Identity(), primary_key=True),
    Column("task", Id, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("node_id", Text),
    Column("started_at", UTCDateTime),
    Column("ended_at", UTCDateTime, nullable=False),
    Column("error_class", Text),
    Column("error", Text),
    Column("traceback", Text),
    Column("exit_signal", Integer),
    Column("exit_code", Integer),
    Column("peak_rss", Id),
    UniqueConstraint("task", "attempt"),
)

task_logs = Table(
    "task_logs",
    METADATA,
    Column("id", Id, Identity(), primary_key=True),
    Column("task", Id, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", UTCDateTime, nullable=False),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("fields", JsonText),
    Index("ix_task_logs_task", "task", "id"),
)

task_types = Table(
    "task_types",
    METADATA,
    Column("name", Name, primary_key=True),
    Column("schema", JsonText, nullable=False),
    Column("queue", Name),
    Column("priority", SmallInteger),
    Column("max_attempts", Integer),
    Column("timeout", Float),
    Column("description", Text),
    Column("published_at", UTCDateTime, nullable=False),
)

nodes = Table(
    "nodes",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("address", Text),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("queues", JsonText),
    Column("types", JsonText, nullable=False),
    Column("slots", Integer, nullable=False),
    _count("running"),
    _count("stuck"),
    _count("completed"),
    _count("failed"),
    Column("busy_seconds", Float, nullable=False, server_default="0"),
    Column("cpu_percent", Float, nullable=False, server_default="0"),
    Column("memory_percent", Float, nullable=False, server_default="0"),
    Column("disk_percent", Float, nullable=False, server_default="0"),
    Column("load", Float, nullable=False, server_default="0"),
    Column("rss", Id, nullable=False, server_default="0"),
    _count("cpu_count"),
    Column("memory_total", Id, nullable=False, server_default="0"),
    Column("heartbeat_interval", Float, nullable=False, server_default="10"),
    Column("started_at", UTCDateTime, nullable=False),
    Column("heartbeat_at", UTCDateTime, nullable=False),
    Column("stopped_at", UTCDateTime),
    Column("drain_requested_at", UTCDateTime),
    Column("pools", JsonText),  # of each pool how many slots, how many of them stuck, and for which types
    CheckConstraint("state IN ('active', 'overloaded', 'draining', 'stuck', 'stopped')", name="state"),
    Index("ix_nodes_heartbeat", "heartbeat_at"),
)

node_samples = Table(
    "node_samples",
    METADATA,
    Column("node_id", Text, ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("at", UTCDateTime, primary_key=True),
    Column("cpu_percent", Float, nullable=False),
    Column("memory_percent", Float, nullable=False),
    Column("rss", Id, nullable=False),
    Column("running", Integer, nullable=False),
    Index("ix_node_samples_at", "at"),
)

queues = Table(
    "queues",
    METADATA,
    Column("name", Name, primary_key=True),
    Column("paused_at", UTCDateTime),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    Column("max_running", Integer),
    Column("max_pending", Integer),
)

schedules = Table(
    "schedules",
    METADATA,
    Column("name", Name, primary_key=True),
    Column("cron", Text),
    Column("every", Float),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("anchor", UTCDateTime, nullable=False),
    Column("task_type", Name, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("queue", Name, nullable=False, server_default="default"),
    Column("priority", SmallInteger, nullable=False, server_default="5"),
    Column("max_attempts", Integer),
    Column("timeout", Float),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("declared", Boolean, nullable=False, server_default=text("false")),
    Column("next_at", UTCDateTime),
    Column("fired_at", UTCDateTime),
    Column("error", Text),
    Column("created_at", UTCDateTime, nullable=False),
    CheckConstraint("(cron IS NULL) <> (every IS NULL)", name="cron_or_every"),
    Index("ix_schedules_next", "next_at", **_where("NOT paused AND next_at IS NOT NULL")),
)

firings = Table(
    "firings",
    METADATA,
    Column("schedule", Name, primary_key=True),
    Column("fire_at", UTCDateTime, primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("fired_at", UTCDateTime, nullable=False),
    _count("skipped"),  # earlier instants that were missed and folded into this one
    Column("manual", Boolean, nullable=False, server_default=text("false")),
)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),  # with the anchor of its sessions: see queue.key
    Column("scopes", JsonText, nullable=False),
    Column("queues", JsonText),  # NULL: all of them
    Column("rate", Float),  # requests a second; NULL: as many as come
    Column("replaces", Text),  # the key that it was made from by a rotation
    Column("created_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime),
    Column("revoked_at", UTCDateTime),
    Column("used_at", UTCDateTime),
)

audit = Table(
    "audit",
    METADATA,
    Column("id", Id, Identity(), primary_key=True),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text),
    Column("details", JsonText),
    Index("ix_audit_at", "at"),
)

operations = Table(
    "operations",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("chosen", JsonText, nullable=False),  # which tasks: a filter, or ids; and what a step failed with
    Column("queues", JsonText),  # those that its caller may touch; NULL: all of them
    Column("dry_run", Boolean, nullable=False, server_default=text("false")),
    Column("state", Text, nullable=False, server_default="running"),
    _count("matched"),
    _count("changed"),
    _count("unchanged"),
    Column("upto", Id),  # tasks that are newer than the operation are not its business
    Column("after", Id, nullable=False, server_default="0"),  # how far it has come
    Column("created_by", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),
    CheckConstraint("state IN ('running', 'done', 'aborted')", name="state"),
    CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="ended_has_time"),
    Index("ix_operations_running", "created_at", **_where("state = 'running'")),
)

schema_info = Table(
    "schema_info",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""``oldest_code``: the oldest schema number that the database still accepts; only older code is refused."""
