"""A file of settings to begin with: what is given, and null for the rest that a first machine needs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobrunner.errors import SettingsError
from jobrunner.settings import config_file
from jobrunner.settings.loading import check

_FIRST = (
    *("database_url", "node_name", "host", "port", "api_key", "allow_from"),
    *("handlers", "queues", "max_workers", "max_memory_mb", "log_file", "tdx_root", "csv_root", "schedules"),
)


def start_file(config: Path | None, given: Mapping[str, Any], check_schedules: Callable[[Sequence[Any]], None]) -> Path:
    """Write a new file for this user alone, and return where; ``config``, the variables and the default name it.

    Null stands for the default. Raises SettingsError for values that would be refused, and where a file is already.
    """
    given = {key: value for key, value in given.items() if value is not None}
    check(given, "argument")
    check_schedules(given.get("schedules", ()))
    found, _ = config_file.find(config, os.environ)
    path = (found or Path(config_file.DEFAULT_FILE)).expanduser()
    try:
        text = (json.dumps({**dict.fromkeys(_FIRST), **given}, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        raise SettingsError("an argument is not UTF-8") from None
    try:
        _create(path, text)
    except FileExistsError:
        raise SettingsError(
            f"{path} is there already, and stays as it is: edit it, or name another with --config"
        ) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def _create(path: Path, text: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:  # a full disk, say: half a file would be in the way of the next try
            path.unlink()
            raise
