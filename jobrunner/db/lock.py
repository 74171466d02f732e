"""One process per SQLite file."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from jobrunner.errors import DatabaseLocked, SettingsError
from jobrunner.forks import keep_from_forks

PATIENCE = 5.0  # seconds to wait for a command that works on the same file
LOOK = 0.05  # seconds between two looks
ANSWER = 0.5  # seconds for a server of this machine to take a connection

_held: dict[Path, int] = {}  # locks that this process has, and its number: a forked copy has none of them


class FileLock:
    """The lock beside a SQLite file: held while this process lives, however it ends; what it forks holds no copy.

    Taking it proves that no other process works on the file. It carries the owner's pid and, where it serves, its
    URL, so that the command line can ask the owner over REST.
    """

    def __init__(self, database: str | Path) -> None:
        self.database = str(database)
        self._file: IO[str] | None = None

    def take(self, url: str | None = None, *, patience: float = 0.0) -> None:
        """Take the lock or raise :class:`DatabaseLocked` naming the owner; SettingsError where its file cannot be made.

        A command of the command line holds it for an instant, and tells no URL: such an owner is waited for, up to
        ``patience`` seconds. One that serves keeps it, and is not.
        """
        until = time.monotonic() + patience
        while True:
            try:
                self._try(url)
            except DatabaseLocked as held:
                if held.owner.get("url") or time.monotonic() >= until:
                    raise
                time.sleep(LOOK)
            else:
                return

    def _try(self, url: str | None) -> None:
        import portalocker  # which a process on PostgreSQL has no use for

        path = lock_path(self.database)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # payloads and results are its owner's
            handle = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"{path} cannot be written, and stands beside every database file: {error.strerror}; "
                "JOBRUNNER_DATA_DIR and JOBRUNNER_DATABASE_URL name another place"
            ) from error
        try:
            portalocker.lock(handle, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except (portalocker.LockException, portalocker.AlreadyLocked):
            handle.close()
            here = {"here": True} if _held.get(path) == os.getpid() else {}
            raise DatabaseLocked(self.database, _still(_read(path)) | here) from None
        keep_from_forks(handle)
        self._file = handle
        _held[path] = os.getpid()
        self.tell(url)

    def tell(self, url: str | None) -> None:
        """Say where the owner answers. Does nothing without the lock."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(json.dumps({"pid": os.getpid(), "url": url}))
            self._file.flush()

    def drop(self) -> None:
        """Give the lock back. Its file stays: removing it would let two processes lock two different files."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.close()
            self._file = None
            _held.pop(lock_path(self.database), None)


def lock_path(database: str | Path) -> Path:
    """Where the lock of a SQLite file stands."""
    return Path(f"{Path(database).resolve()}.lock")  # resolved: two names of one file are one lock


def owner(database: str | Path) -> dict[str, Any] | None:
    """Who holds the file: ``pid`` and ``url``; None when nobody does."""
    if not lock_path(database).exists():
        return None
    probe = FileLock(database)
    try:
        probe.take()
    except DatabaseLocked as held:
        return held.owner
    probe.drop()
    return None


def _still(told: dict[str, object]) -> dict[str, object]:
    """What the owner told, or that it has ended: then something else holds its lock, and answers nobody.

    In another container its number means nothing here, and only its answer tells that it lives.
    """
    import psutil  # only where somebody is in the way

    if "pid" not in told or psutil.pid_exists(int(str(told["pid"]))) or _answers(told.get("url")):
        return told
    return {"pid": told["pid"], "ended": True}


def _answers(url: object) -> bool:
    if not url:
        return False
    try:
        parts = urlsplit(str(url))
        with socket.create_connection((parts.hostname, parts.port or 0), timeout=ANSWER):
            return True
    except OSError:
        return False


def _read(path: Path) -> dict[str, object]:
    text = path.read_text(encoding="utf-8").strip()
    try:
        told = json.loads(text) if text else {}
    except ValueError:  # the owner is writing it this very moment
        return {}
    return told if isinstance(told, dict) else {}
