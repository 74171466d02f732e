"""Every setting: its type and its default. The environment variables that set it are in ``names``."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jobrunner.settings.names import OLD_VARIABLES, variables
from jobrunner.settings.nodes import NODE_PORT, Nodes
from jobrunner.settings.values import (
    Count,
    DatabaseUrl,
    Days,
    Filled,
    Folder,
    Grace,
    Key,
    Lease,
    Megabytes,
    Networks,
    OptionalName,
    OptionalPath,
    OptionalText,
    Percent,
    Port,
    QueueNames,
    RootPath,
    Seconds,
    Upper,
    Words,
    sqlite_url,
)

__all__ = ["DEFAULT_PORT", "FILE_ONLY", "OLD_KEYS", "OLD_VARIABLES", "Settings", "variables"]

DEFAULT_PORT = NODE_PORT
DATABASE_FILE = "jobrunner.db"

OLD_KEYS = frozenset({"auto_register", "master_host", "master_port", "capabilities"})
"""Keys of old files that mean nothing now: the database took the master's place, handlers that of capabilities."""

FILE_ONLY = frozenset({"schedules"})


class Settings(BaseModel):
    """What one process runs with. Frozen; paths are absolute; durations are in seconds.

    Built directly it takes what it is given and reads nothing around it: :func:`jobrunner.settings.load` reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    database_url: DatabaseUrl = Field(default="", repr=False)
    data_dir: Folder = Path(".jobrunner")
    node_id: OptionalText = None
    node_name: OptionalName = None
    host: Filled = "127.0.0.1"
    port: Port | None = None
    root_path: RootPath = ""
    api_key: Key = None
    allow_from: Networks = ()
    trusted_hosts: Words = ()
    ssl_keyfile: OptionalPath = None
    ssl_certfile: OptionalPath = None
    max_workers: Count = 4
    max_async: Count = 100
    queues: QueueNames = ()
    handlers: Words = ()
    task_timeout: Seconds = 300.0
    heartbeat_interval: Seconds = 10.0
    lease_seconds: Lease = 30.0
    poll_interval: Seconds = 1.0
    grace: Grace = 25.0
    max_memory_mb: Megabytes = 4096
    max_cpu_percent: Percent | None = None
    child_max_tasks: Count = 100_000
    allow_unknown_types: bool = False
    keep_completed_days: Days = 7.0
    keep_failed_days: Days = 30.0
    keep_audit_days: Days = 365.0
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Upper] = "INFO"
    log_file: OptionalPath = None
    log_format: Literal["auto", "console", "json"] = "auto"
    tdx_root: OptionalPath = None
    csv_root: OptionalPath = None
    enable_caching: bool = True
    cache_size_mb: Megabytes = 1024
    cache_dir: OptionalPath = None
    nodes: Nodes = ()
    distributed: bool = True
    schedules: tuple[dict[str, Any], ...] = ()

    @property
    def url(self) -> str:
        """The database's URL, which is a SQLite file in the data directory where none is set."""
        return self.database_url or sqlite_url(self.data_dir / DATABASE_FILE)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file, and so one process alone does everything."""
        return self.url.startswith("sqlite:")

    @property
    def name(self) -> str:
        """The node's name: the one that is set, else this machine's."""
        return self.node_name or socket.gethostname()
