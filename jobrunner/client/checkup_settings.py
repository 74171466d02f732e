"""What is wrong with settings that can be read: found without a database, a server or a port."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from jobrunner.background import schedules
from jobrunner.client.checkup import Finding, Level, fail, ok, warn
from jobrunner.client.checkup_files import files
from jobrunner.errors import HandlerError, InvalidInput, SettingsError
from jobrunner.handlers import handlers, load
from jobrunner.settings import Loaded, Settings, check_door
from jobrunner.settings import load as read_settings
from jobrunner.settings.loopback import family_of


def of_sources(config: Path | None) -> Iterator[Finding]:
    """Whether the settings can be read, and then what :func:`about` finds."""
    try:
        loaded = read_settings(config=config)
    except SettingsError as error:
        for line in str(error).splitlines():
            told, _, meant = line.partition("; did you mean ")
            yield fail("settings", told, f"write {meant.rstrip('?')}" if meant else "correct what is named there")
        return
    counts = Counter(source for source in loaded.sources.values() if source != "default")
    told = ", ".join(f"{count} set by {source}" for source, count in sorted(counts.items()))
    yield ok("settings", told or "none is set, so the defaults count")
    for warning in loaded.warnings:
        yield warn("settings", warning, "take them out")
    yield from about(loaded)
    yield from _host(loaded)
    yield _door(loaded.settings)


def _host(loaded: Loaded) -> Iterator[Finding]:
    """Whether it is one of this machine's addresses; whether the port is free is for who starts something."""
    host = loaded.settings.host
    try:
        socket.create_server((host, 0), family=family_of(host)).close()
    except (OSError, UnicodeError) as error:
        yield fail("host", f"nothing can listen at {host}: {error}", f"correct host ({loaded.sources['host']})")


def _door(settings: Settings) -> Finding:
    try:
        check_door(settings, has_key=False)
    except SettingsError as error:
        told, _, mend = str(error).partition(". Mend it with one of: ")
        return warn("door", f"{told}: it opens only where the database has a key", mend)
    return ok("door", "it may open, whatever keys the database has")


def about(loaded: Loaded) -> Iterator[Finding]:
    """The findings; those about files that are not named are left out."""
    yield from files(loaded)
    yield (loading := _handlers(loaded))
    yield from _schedules(loaded.settings, loaded=loading.level is Level.OK)


def _handlers(loaded: Loaded) -> Finding:
    """Import what a worker would import: only that tells whether it starts."""
    try:
        with redirect_stdout(sys.stderr):  # what a module prints is none of our data
            load(loaded.settings.handlers)
    except HandlerError as error:
        return fail("handlers", str(error), f"correct the module, or handlers ({loaded.sources['handlers']})")
    return ok("handlers", f"task types that a worker here would run: {', '.join(sorted(handlers()))}")


def check_schedules(entries: Sequence[Any]) -> None:
    """Refuse the first entry that a worker would not start with; raises SettingsError."""
    for number, entry in enumerate(entries):
        try:
            schedules.check(entry)
        except InvalidInput as error:
            raise SettingsError(f"schedules[{number}]: {error}") from None


def _schedules(settings: Settings, *, loaded: bool) -> Iterator[Finding]:
    """Those of the file, by the handlers that are here, once they are ``loaded``."""
    wrong = 0
    for number, entry in enumerate(settings.schedules):
        try:
            schedules.check(entry)
        except InvalidInput as error:
            wrong += 1
            yield fail("schedules", f"schedules[{number}] of the file: {error}", "correct it; a worker would not start")
    names = Counter(str(entry.get("name")) for entry in settings.schedules)
    for name in (name for name, count in names.items() if count > 1):
        yield warn("schedules", f"{names[name]} entries are called {name}: the last one counts", "name them apart")
    asked = {kind for entry in settings.schedules if isinstance(kind := entry.get("task_type"), str)}
    if loaded and (strange := sorted(asked - handlers().keys())):
        fix = "correct task_type, or have another worker run it"
        yield warn("schedules", f"no handler here runs {', '.join(strange)}", fix)
    if settings.schedules and not wrong:
        yield ok("schedules", f"{len(settings.schedules)} of the file make sense")
