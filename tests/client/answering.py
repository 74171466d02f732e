"""Small real servers that answer as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

AWAY = 0.3  # seconds
TASK: dict[str, Any] = {"task_type": "nap", "queue": "default", "priority": 5, "max_attempts": 3, "result": {}}


@dataclass
class Script:
    """An application that gives these answers in turn, the last again and again; ``asked`` has what came, and when."""

    answers: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    rest: float = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.asked.append((time.monotonic(), scope["path"], json.loads(body or b"{}")))
        await asyncio.sleep(self.rest)
        status, headers, told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": given})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


class Leaving:
    """Answers these in turn, each on a connection of its own; while it is away, after a None, nobody listens there.

    ``asked`` has the first line of each request. Used as a context manager.
    """

    def __init__(self, answers: Sequence[dict[str, Any] | None]) -> None:
        self._answers = [*answers]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while self._answers:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with near:
                self._answer(near)

    def _answer(self, near: socket.socket) -> None:
        head, _, body = near.recv(65_536).partition(b"\r\n\r\n")
        sizes = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while sizes and len(body) < int(sizes[0]):
            body += near.recv(65_536)
        if not head:
            return  # who only looked whether anybody listens
        self.asked.append(head.split(b" HTTP")[0].decode())
        told = json.dumps(self._answers.pop(0)).encode()
        goes = bool(self._answers) and self._answers[0] is None
        if goes:
            self._answers.pop(0)
            self._listener.close()
        near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(told), told))
        near.close()
        if goes:
            time.sleep(AWAY)
            self._listener = socket.create_server(self._address)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a close alone leaves its thread in the accept
        self._listener.close()
        self._thread.join(1)
