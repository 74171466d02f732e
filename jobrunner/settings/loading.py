"""Reads flags, environment and file, and says for every value where it came from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobrunner.errors import SettingsError
from jobrunner.settings import config_file
from jobrunner.settings.keys import FILE_ONLY, OLD_KEYS, OLD_VARIABLES, Settings, variables
from jobrunner.text import is_secret, mask

PREFIX = "JOBRUNNER_"
OTHER_VARIABLES = re.compile(r"JOBRUNNER_(CHILD|CONFIG|URL|LANG|FAILPOINT|TEST_\w+)")
"""Ours too, but no settings."""

SERVICE_VARIABLES = re.compile(
    r"JOBRUNNER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""What Kubernetes gives every container in the namespace of a service called jobrunner."""


_WORDS = {"tuple_type": "should be a list", "dict_type": "should be an object", "string_type": "should be a text"}
_WITH_SECRETS = frozenset({"database_url", "nodes", "schedules"})  # which may hold some, under names of any spelling


@dataclass(frozen=True)
class Loaded:
    """Settings, with the source of each: ``flag``, ``env MAX_WORKERS``, ``file node_config.json`` or ``default``."""

    settings: Settings
    sources: dict[str, str]
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Layer:
    """What one kind of source gave: values by key, and the source of each."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, value: Any, source: str) -> None:
        self.values[key] = value
        self.sources[key] = source


def load(
    flags: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read all sources: ``flags`` > ``environ`` (default: the process's) > file > default.

    A flag that is None, an empty variable and a ``null`` in the file count as not given. Raises SettingsError that
    tells every problem, a line each, with key and source.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    ignored: dict[str, str] = {}
    layers = [
        _known({key: value for key, value in (flags or {}).items() if value is not None}, "flag", problems, ignored),
        _environment(environ, problems, ignored),
        _file(config, environ, problems, ignored),
    ]
    origin = {key: source for layer in reversed(layers) for key, source in layer.sources.items()}
    given = {key: value for layer in reversed(layers) for key, value in layer.values.items()}
    settings = _made(given, origin, problems)
    sources = {key: origin.get(key, "default") for key in Settings.model_fields}
    return Loaded(settings, sources, _warnings(ignored))


def check(given: Mapping[str, Any], source: str) -> None:
    """Refuse what ``source`` gives, old keys too, where no other source is asked; raises SettingsError as ``load``."""
    problems: list[str] = []
    ignored: dict[str, str] = {}
    layer = _known(given, source, problems, ignored)
    problems += _warnings(ignored)
    _made(layer.values, layer.sources, problems)


def _made(given: Mapping[str, Any], origin: Mapping[str, str], problems: list[str]) -> Settings:
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += _refusals(error, given, origin)
        settings = None
    if problems or settings is None:
        raise SettingsError("\n".join(problems))
    return settings


def _known(given: Mapping[Any, Any], source: str, problems: list[str], ignored: dict[str, str]) -> _Layer:
    layer = _Layer()
    for key, value in given.items():
        if key in Settings.model_fields:
            layer.put(key, value, source)
        elif key in OLD_KEYS:
            ignored[key] = source
        else:
            problems.append(f"{key} ({source}): unknown key{_hint(_nearest_key(key))}")
    return layer


def _file(
    config: str | Path | None, environ: Mapping[str, str], problems: list[str], ignored: dict[str, str]
) -> _Layer:
    path, named_by = config_file.find(config, environ)
    if path is None:
        return _Layer()
    try:
        found = config_file.read(path, named_by)
    except SettingsError as error:
        problems.append(str(error))
        return _Layer()
    present = {key: value for key, value in found.items() if value is not None or key not in Settings.model_fields}
    return _known(present, f"file {path}", problems, ignored)


def _environment(environ: Mapping[str, str], problems: list[str], ignored: dict[str, str]) -> _Layer:
    set_here = {name: value for name, value in environ.items() if value.strip() and not _of_a_service(name, value)}
    layer = _Layer()
    for key in Settings.model_fields:
        name = next((name for name in variables(key) if name in set_here), None)
        if name is None:
            continue
        if key in FILE_ONLY:
            problems.append(f"{key} (env {name}): can be set in the config file only")
        else:
            layer.put(key, set_here[name], f"env {name}")
    for name in set_here:
        if not name.startswith(PREFIX) or OTHER_VARIABLES.fullmatch(name):
            continue
        key = name.removeprefix(PREFIX).lower()
        if key in OLD_KEYS:
            ignored[key] = f"env {name}"
        elif key not in Settings.model_fields or name != name.upper():
            nearest = _nearest_key(key)
            problems.append(f"{name} (env): unknown variable{_hint(nearest and PREFIX + nearest.upper())}")
    return layer


def _of_a_service(name: str, value: str) -> bool:
    if SERVICE_VARIABLES.fullmatch(name):
        return True
    return name.endswith("PORT") and re.match(r"(tcp|udp|sctp)://", value) is not None


def _nearest_key(key: object) -> str | None:
    wrong = str(key).lower().replace("-", "_").removeprefix(PREFIX.lower())
    meant = {name.lower(): key for key, names in OLD_VARIABLES.items() for name in names}
    meant |= {key: key for key in Settings.model_fields}
    close = [name for name in meant if name.startswith(f"{wrong}_")] or get_close_matches(wrong, meant, n=1, cutoff=0.6)
    return meant[close[0]] if close else None


def _hint(nearest: str | None) -> str:
    return f"; did you mean {nearest}?" if nearest else "; `jobrunner config show` lists all keys"


def _refusals(error: ValidationError, given: Mapping[str, Any], origin: Mapping[str, str]) -> list[str]:
    """One line for each key that is refused, the first of its complaints only."""
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        key, *within = (str(step) for step in problem["loc"])
        reason = _WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
        reason = reason.replace("Input should", "should")
        where = "".join(f"[{step}]" for step in within)
        hidden = is_secret(key) or key in _WITH_SECRETS
        value = "" if hidden else f" {mask(repr(given.get(key)))[:200]}"
        lines.setdefault(key, f"{key}{where} ({origin.get(key, 'default')}): bad value{value}: {reason}")
    return list(lines.values())


def _warnings(ignored: Mapping[str, str]) -> list[str]:
    if not ignored:
        return []
    told = ", ".join(f"{key} ({source})" for key, source in sorted(ignored.items()))
    return [f"these old settings mean nothing any more and are ignored: {told}"]
