"""Who holds a SQLite file, and what is said of a holder that has ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobrunner.db.lock import FileLock
from jobrunner.errors import DatabaseLocked

OWNER = """
import subprocess, sys
from jobrunner.db.lock import FileLock
lock = FileLock(sys.argv[1])
lock.take(sys.argv[2])
left = subprocess.Popen(["sleep", "300"], pass_fds=[lock._file.fileno()], stdout=subprocess.DEVNULL)
print(left.pid)
"""


@contextmanager
def _left_behind(path: Path, url: str) -> Iterator[int]:
    """An owner that has ended, and a program that it gave its lock to; yields the owner's number."""
    command = [sys.executable, "-W", "ignore", "-c", OWNER, str(path), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        told, _ = owner.communicate(timeout=20)
    try:
        yield owner.pid
    finally:
        os.kill(int(told), signal.SIGKILL)


def test_an_owner_that_has_ended_is_not_told_as_one_to_ask(tmp_path: Path) -> None:
    path = tmp_path / "jobrunner.db"
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with _left_behind(path, url) as number:
            with pytest.raises(DatabaseLocked) as refused:  # it answers: in a container, say, with numbers of its own
                FileLock(path).take()
            assert refused.value.owner == {"pid": number, "url": url}
            server.close()
            with pytest.raises(DatabaseLocked, match=f"what process {number} left behind.*fuser.*lock") as refused:
                FileLock(path).take()
            assert refused.value.owner == {"pid": number, "ended": True}
            assert url not in str(refused.value)
    lock = FileLock(path)
    lock.take(patience=5)
    lock.drop()
