"""What is wrong with settings that can be read: found without a database, a server or a port."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from jobrunner.background import schedules
from jobrunner.client.checkup import Finding, fail, ok, warn
from jobrunner.errors import HandlerError, InvalidInput, SettingsError
from jobrunner.handlers import handlers, load
from jobrunner.settings import Loaded, Settings, check_door, check_tls
from jobrunner.settings import load as read_settings
from jobrunner.settings.keys import variables
from jobrunner.settings.log_file import check_log_file


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
    yield _door(loaded.settings)


def _door(settings: Settings) -> Finding:
    try:
        check_door(settings, has_key=False)
    except SettingsError as error:
        told, _, mend = str(error).partition(". Mend it with one of: ")
        return warn("door", f"{told}: it opens only where the database has a key", mend)
    return ok("door", "it may open, whatever keys the database has")


def about(loaded: Loaded) -> Iterator[Finding]:
    """The findings; those about files that are not named are left out."""
    settings = loaded.settings
    yield from _roots(settings)
    yield from _log_file(settings)
    yield _handlers(settings)
    yield from _schedules(settings)
    yield from _secrets(loaded)
    yield from _tls(settings)


def _roots(settings: Settings) -> Iterator[Finding]:
    for key in ("tdx_root", "csv_root"):
        root = getattr(settings, key)
        if root is None:
            continue
        try:
            os.scandir(root).close()
        except OSError as error:
            yield fail(key, f"{root}: {error.strerror}, so imports from it fail", f"correct {variables(key)[0]}")
        else:
            yield ok(key, str(root))


def _log_file(settings: Settings) -> Iterator[Finding]:
    try:
        check_log_file(settings)
    except SettingsError as error:
        told, _, fix = str(error).removeprefix("log_file: ").partition("; ")
        yield fail("log_file", told, fix)


def _handlers(settings: Settings) -> Finding:
    """Import what a worker would import: only that tells whether it starts."""
    try:
        with redirect_stdout(sys.stderr):  # what a module prints is none of our data
            load(settings.handlers)
    except HandlerError as error:
        named = f" (now {','.join(settings.handlers)})" if settings.handlers else ""
        return fail("handlers", str(error), f"correct the module, or JOBRUNNER_HANDLERS{named}")
    return ok("handlers", f"task types that a worker here would run: {', '.join(sorted(handlers()))}")


def _secrets(loaded: Loaded) -> Iterator[Finding]:
    settings = loaded.settings
    files = {Path(told.removeprefix("file ")) for told in loaded.sources.values() if told.startswith("file ")}
    secret = {"api_key", "database_url"}
    holding = {Path(loaded.sources[key].removeprefix("file ")) for key in secret if loaded.sources[key] in _told(files)}
    if settings.ssl_keyfile is not None:
        holding.add(settings.ssl_keyfile)
    open_ = sorted(str(path) for path in holding if _others_read(path))
    for name in open_:
        yield warn("secrets", f"{name} holds a secret, and other users can read it", f"chmod 600 {name}")
    if not open_:
        yield ok("secrets", "no file with a key or a password is open to other users")


def _told(files: set[Path]) -> set[str]:
    return {f"file {path}" for path in files}


def _others_read(path: Path) -> bool:
    try:
        mode = path.expanduser().stat().st_mode
    except OSError:
        return False  # a key file that is not there is told by the door
    return sys.platform != "win32" and bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def _tls(settings: Settings) -> Iterator[Finding]:
    try:
        check_tls(settings)
    except SettingsError as error:
        for line in str(error).splitlines():
            yield fail("TLS", line, "name a certificate (PEM) and its key that this user can read, or neither")


def _schedules(settings: Settings) -> Iterator[Finding]:
    """Those of the file, by the handlers that are here: behind :func:`_handlers`, which loads them."""
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
    if settings.schedules and not wrong:
        yield ok("schedules", f"{len(settings.schedules)} of the file make sense")
