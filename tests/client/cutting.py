"""A TCP proxy before a node that loses answers: the request is delivered and carried out, and nobody hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

PIECE = 65_536


class Cutting:
    """Listens on 127.0.0.1 and carries each connection to ``port``; used as a context manager.

    ``losing`` is what a request begins with whose answer is lost; ``count`` how often that happened. Of ``most`` such
    requests the answer is lost, then they pass. ``hang`` keeps the connection open without an answer.
    """

    def __init__(self, port: int, losing: bytes = b"POST /api/v1/task/execute", *, most: int = 1) -> None:
        self._target = ("127.0.0.1", port)
        self._losing = losing
        self._most = most
        self._hung: list[socket.socket] = []
        self.hang = False
        self.count = 0
        self.seen: list[bytes] = []  # the first line of every request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with contextlib.suppress(OSError), far:
            lost = self._asked(near, far)
            while piece := far.recv(PIECE):
                if not lost:
                    near.sendall(piece)
                elif b"\r\n\r\n" in piece:
                    break
            if lost and self.hang:
                self._hung.append(near)
                return
        near.close()

    def _asked(self, near: socket.socket, far: socket.socket) -> bool:
        """Hand on one request, whole; whether its answer is to be lost."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += near.recv(PIECE)
        head, _, body = data.partition(b"\r\n\r\n")
        sizes = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while sizes and len(body) < int(sizes[0]):
            piece = near.recv(PIECE)
            body, data = body + piece, data + piece
        self.seen.append(head.split(b"\r\n")[0])
        lost = head.startswith(self._losing) and self.count < self._most
        self.count += lost
        far.sendall(data)
        return lost

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for near in self._hung:
            near.close()
