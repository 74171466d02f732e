"""Who is connected while a server stops: a request that runs is answered, and whoever asked nothing is sent away."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jobrunner.runtime import protocol, server
from jobrunner.settings import Settings
from tests.certificates import self_signed

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here, which makes a certificate")


class Slow:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        while not self.go.is_set():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})


def test_who_comes_in_while_it_stops_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_WITHIN", 60)
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 60.0)  # which cuts the silent one too
    key, chain = self_signed(tmp_path)
    slow, ended = Slow(), threading.Event()
    stopped = server.Server(Settings(ssl_keyfile=key, ssl_certfile=chain), 0)
    stopped.start(slow, ended.set)
    trusting = ssl.create_default_context(cafile=str(chain))
    place = ("127.0.0.1", stopped.port)
    with (
        trusting.wrap_socket(socket.create_connection(place, 30), server_hostname="127.0.0.1") as asking,
        socket.create_connection(place, 30) as silent,
    ):
        asking.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.asked.wait(30)
        stopping = threading.Thread(target=stopped.stop)
        stopping.start()
        while _listens(place):
            time.sleep(0.01)
        with trusting.wrap_socket(silent, server_hostname="127.0.0.1") as late:  # taken in before, and counts only now
            assert late.recv(1) == b""
        assert not ended.is_set()
        slow.go.set()
        assert asking.makefile("rb").read().endswith(b"done")
        stopping.join(30)
        assert ended.is_set(), "it waits for who has its answer and keeps the line for later"


def _listens(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, 30).close()
    except ConnectionError:
        return False
    return True
