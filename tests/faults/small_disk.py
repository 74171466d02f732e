"""A file system of a few megabytes for a server's files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.postgres import PrivateServer


@contextmanager
def small_disk(server: PrivateServer, megabytes: int) -> Iterator[Path]:
    """An empty folder on it, owned by the server's user; skips the test where nothing can be mounted."""
    mount = Path(mkdtemp(prefix="jrpg-small-", dir="/tmp"))
    mount.chmod(0o755)
    size = f"size={megabytes}m,mode=777"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", mount], capture_output=True, check=False)
    if mounted.returncode:
        mount.rmdir()
        # Only root may mount, and not in every container.
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        folder = mount / "space"
        folder.mkdir()
        owner = server.data.stat()
        subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", folder], check=True)
        folder.chmod(0o700)
        yield folder
    finally:
        subprocess.run(["umount", "-l", mount], check=True)
        mount.rmdir()
