"""Whether a host stands for this machine alone."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's loopback; of other names nobody knows where they lead."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def leads_here(url: str) -> bool:
    """Whether a URL names the loopback."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False  # it is no URL, which is told when it is asked


def family_of(host: str) -> socket.AddressFamily:
    """How a host is listened to: a name is this machine's by IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
