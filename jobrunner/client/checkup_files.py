"""What the doctor and ``config check`` look at in the file system: folders, logs, secrets, certificates."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from jobrunner.client.checkup import Finding, fail, ok, warn
from jobrunner.errors import SettingsError
from jobrunner.settings import Loaded, Settings, check_tls
from jobrunner.settings.log_file import check_log_file


def files(loaded: Loaded) -> Iterator[Finding]:
    """The findings; those about files that are not named are left out."""
    settings = loaded.settings
    yield _folder(settings.data_dir)
    yield from _roots(loaded)
    yield from _log_file(settings)
    yield from _secrets(loaded)
    yield from _tls(settings)


def _folder(folder: Path) -> Finding:
    found = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    try:
        TemporaryFile(dir=found).close()  # who asks for permissions alone is told yes in /proc; it leaves nothing
    except OSError as error:
        return unwritable(folder, found, error)
    return ok("data folder", str(folder) if found == folder else f"{folder}, made when it is needed")


def unwritable(folder: Path, found: Path, error: OSError) -> Finding:
    """Why nothing can be made in ``found``, which is ``folder`` or what there is of the way to it."""
    other = f"name another place: JOBRUNNER_DATA_DIR (now {folder})"
    user = os.getuid() if sys.platform != "win32" else None
    if error.errno in (errno.EACCES, errno.EPERM) and user != 0:  # whom permissions do not hold up
        who = "" if user is None else f"; this process is {user}"
        return fail("data folder", f"{found} cannot be written{who}", f"give it to that user, or {other}")
    return fail("data folder", f"nothing can be made in {found}: {error.strerror or error}", other)


def _roots(loaded: Loaded) -> Iterator[Finding]:
    for key in ("tdx_root", "csv_root"):
        root = getattr(loaded.settings, key)
        if root is None:
            continue
        try:
            os.scandir(root).close()
        except OSError as error:
            yield fail(
                key, f"{root}: {error.strerror}, so imports from it fail", f"correct {key} ({loaded.sources[key]})"
            )
        else:
            yield ok(key, str(root))


def _log_file(settings: Settings) -> Iterator[Finding]:
    try:
        check_log_file(settings)
    except SettingsError as error:
        told, _, fix = str(error).removeprefix("log_file: ").partition("; ")
        yield fail("log_file", told, fix)
        return
    path = settings.log_file
    if path is None or not path.parent.is_dir() or path.is_fifo():  # whose opening would wait for a reader
        return
    try:
        if path.exists():
            path.open("ab").close()
        else:
            TemporaryFile(dir=path.parent).close()
    except OSError as error:
        yield fail("log_file", f"{path} cannot be written: {error.strerror or error}", "name another log_file")


def _secrets(loaded: Loaded) -> Iterator[Finding]:
    settings = loaded.settings
    read = {Path(told.removeprefix("file ")) for told in loaded.sources.values() if told.startswith("file ")}
    secret = {"api_key", "database_url"}
    told = [loaded.sources[key] for key in secret if getattr(settings, key)]
    holding = {Path(source.removeprefix("file ")) for source in told if source in _told(read)}
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
