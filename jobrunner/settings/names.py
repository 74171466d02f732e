"""How settings are named in the environment, and what help says of their defaults: read without pydantic."""

from __future__ import annotations

OLD_VARIABLES = {
    "database_url": ("DATABASE_URL",),
    "data_dir": ("DATA_DIR",),
    "node_id": ("NODE_ID",),
    "node_name": ("NODE_NAME",),
    "host": ("NODE_HOST",),
    "port": ("NODE_PORT", "PORT"),
    "api_key": ("NODE_API_KEY",),
    "max_workers": ("MAX_WORKERS",),
    "task_timeout": ("TASK_TIMEOUT",),
    "heartbeat_interval": ("HEARTBEAT_INTERVAL",),
    "max_memory_mb": ("MAX_MEMORY_MB",),
    "max_cpu_percent": ("MAX_CPU_PERCENT",),
    "log_level": ("LOG_LEVEL",),
    "log_file": ("LOG_FILE",),
    "enable_caching": ("ENABLE_CACHING",),
    "cache_size_mb": ("CACHE_SIZE_MB",),
    "cache_dir": ("CACHE_DIR",),
}
"""The names that variables had before ``JOBRUNNER_<KEY>``, which comes first."""

DEFAULTS = {
    "host": "127.0.0.1",
    "max_workers": "4",
    "lease_seconds": "30",
    "grace": "25",
    "log_level": "INFO",
}
"""What help tells of defaults, as ``config show`` prints them."""

DERIVED = {
    "database_url": "a SQLite file in the data directory",
    "port": "8900",
    "root_path": "none",
    "node_name": "this machine's",
    "queues": "all",
    "allow_from": "none",
    "handlers": "none",
    "tdx_root": "none",
    "ssl_keyfile": "none",
    "ssl_certfile": "none",
}
"""The same where nothing is set, and something else follows from that."""


def variables(key: str) -> tuple[str, ...]:
    """The environment variables that set ``key``, the strongest first."""
    return (f"JOBRUNNER_{key.upper()}", *OLD_VARIABLES.get(key, ()))
