"""A proxy that serves a server under a path, as nginx does: it takes the path off, and says who asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from itertools import cycle
from types import TracebackType
from typing import Self

PIECE = 65_536
NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOP = (b"connection:", b"x-forwarded-for:")


class Stripping:
    """Listens on 127.0.0.1 and hands on what is asked for under ``path``; used as a context manager.

    ``ports`` are asked in turn. ``seen`` are the paths that were asked for, as they came.
    """

    def __init__(self, path: str, *ports: int) -> None:
        self._path = path.encode()
        self.seen: list[str] = []
        self._turns = cycle(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{self.origin}{path}"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        """One request for each connection: its answer goes on as it comes."""
        with contextlib.suppress(OSError), near:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = near.recv(PIECE)
                if not piece:
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            method, target, kind = first.split(b" ")
            self.seen.append(target.decode())
            if not target.startswith(self._path + b"/"):
                near.sendall(NOT_HERE)
                return
            kept = [line for line in lines if not line.lower().startswith(HOP)]
            told = [b" ".join((method, target.removeprefix(self._path), kind)), *kept]
            told += [b"X-Forwarded-For: 127.0.0.1", b"Connection: close"]
            port = next(self._turns)
            with socket.create_connection(("127.0.0.1", port)) as far:
                far.sendall(b"\r\n".join(told) + b"\r\n\r\n" + body)
                threading.Thread(target=_pour, args=(near, far), daemon=True).start()
                _pour(far, near)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
