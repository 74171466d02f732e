"""The JSON file of settings: which one is read, and what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobrunner.errors import SettingsError

DEFAULT_FILE = "node_config.json"
FILE_VARIABLES = ("JOBRUNNER_CONFIG", "NODE_CONFIG_FILE")


def find(config: str | Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The file to read, and who named it; None where nobody did and the working directory has none."""
    if config:
        return Path(config), "--config"
    for name in FILE_VARIABLES:
        if environ.get(name):
            return Path(environ[name]), name
    default = Path(DEFAULT_FILE)
    return (default if default.is_file() else None), "the working directory"


def read(path: Path, named_by: str) -> dict[str, Any]:
    """The object in ``path``, which is UTF-8 with or without a byte order mark. Raises SettingsError."""
    try:
        data = path.expanduser().read_bytes()
    except OSError as error:
        raise SettingsError(f"config file {path} ({named_by}) cannot be read: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise SettingsError(f"config file {path}, line {line}, column {column}: not UTF-8") from None
    try:
        found = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingsError(f"config file {path}, {where}: not JSON: {error.msg}") from None
    except ValueError as error:
        raise SettingsError(f"config file {path}: {error}") from None
    except RecursionError:
        raise SettingsError(f"config file {path}: nested too deeply") from None
    if not isinstance(found, dict):
        raise SettingsError(f"config file {path}, line 1, column 1: an object {{...}} is wanted")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"key given twice: {', '.join(twice)}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
