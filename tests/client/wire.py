"""A wire to a server that loses answers: the request arrives and is carried out, and nobody hears of it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class Wire:
    """Listens on 127.0.0.1 and carries bytes to ``target``; used as a context manager.

    ``lose(n)`` ends the link instead of bringing the next n answers to requests that begin with ``lost``.
    """

    def __init__(self, target: str, lost: bytes = b"POST") -> None:
        self._target = (urlsplit(target).hostname or "127.0.0.1", urlsplit(target).port or 80)
        self._lost = lost
        self._to_lose = 0
        self.heard: list[bytes] = []  # the first line of each such request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._closed = threading.Event()

    def lose(self, answers: int) -> None:
        """Lose so many."""
        self._to_lose = answers

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        losable = False
        with near, far, contextlib.suppress(OSError):
            while not self._closed.is_set():
                readable, _, _ = select.select([near, far], [], [], 0.05)
                for end in readable:
                    data = end.recv(65_536)
                    if not data:
                        return
                    if end is near:
                        if data.startswith((b"GET ", b"POST ")):
                            losable = data.startswith(self._lost)
                            self.heard += [data.partition(b"\r\n")[0]] if losable else []
                        far.sendall(data)
                    elif losable and self._to_lose:
                        self._to_lose -= 1
                        return
                    else:
                        near.sendall(data)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # a close alone leaves its thread in the accept
        self._listener.close()
