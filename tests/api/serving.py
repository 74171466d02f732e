"""The application behind the server that users get, for what a test client cannot show: streams, browsers, the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobrunner.runtime.server import Server
from jobrunner.settings import Settings


@contextmanager
def serving(app: Any, port: int = 0, **settings: Any) -> Iterator[str]:
    """Serve ``app`` on this machine; gives its address, and stops it within seconds."""
    server, ended = Server(Settings(**settings), port), threading.Event()
    server.start(app, ended.set)
    try:
        yield server.url
    finally:
        server.stop()
        assert ended.wait(10), "the server did not stop"
