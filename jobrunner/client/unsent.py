"""Which failures of httpx2 prove that a request never left. Every other leaves open whether it was carried out."""

from __future__ import annotations

import httpx2

NEVER_SENT = (
    httpx2.ConnectError,  # refused, no such name, TLS
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,  # what HTTP cannot carry, as a header of two lines
    httpx2.InvalidURL,
)
