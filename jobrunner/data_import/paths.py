"""Files below a root that the operator named, and nothing outside of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jobrunner.data_import.errors import BadFile


def read_below(root: Path, path: Path, *, limit: int) -> bytes:
    """The bytes of the regular file ``path`` (absolute, or relative to ``root``), at most ``limit`` of them.

    Links are followed as long as they stay below ``root``. Raises :class:`BadFile` for anything that leads outside,
    is no regular file (a named pipe would block for ever), is too large, or cannot be read.
    """
    name = path.name
    try:
        home = root.resolve(strict=True)
        target = (home / path).resolve(strict=True)
        if not target.is_relative_to(home):
            raise BadFile(f"{name} lies outside of the folder set for this source")
        # The resolved path has no links left: one that appears from now on is refused instead of followed.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(target, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadFile(f"{name} is no regular file")
            if status.st_size > limit:
                raise BadFile(f"{name} has {status.st_size:,} bytes; at most {limit:,} are read")
            return file.read(limit)
    except FileNotFoundError as error:
        raise BadFile(f"{name} is not there") from error
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL in the name, no permission
        raise BadFile(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
