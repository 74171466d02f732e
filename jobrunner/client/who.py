"""Who asks at the database, where no key tells it: the user of this process."""

from __future__ import annotations

import os
import socket
from functools import cache

import psutil


@cache
def whoever() -> str:
    """This process's user and machine, as the audit names them."""
    try:
        user = psutil.Process().username()
    except (psutil.Error, KeyError):  # a container's user need not have a name
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()}, at the database"
