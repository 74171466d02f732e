"""A server whose answers are written down beforehand, in a thread; some of them never come."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Told = tuple[int, Any]
Answer = Told | None | Callable[[Any], Told]
"""A status and its JSON, or what makes them of the call's body; None takes the call in and breaks off."""


class Scripted:
    """Gives each call the next of ``answers``, and the last one for ever. ``asked`` are the calls and their bodies."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Serve them on a free port of 127.0.0.1, over ``tls`` where it is given."""
    script = Scripted(list(answers))

    class Speaks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._told()

        def do_POST(self) -> None:
            self._told()

        def do_PATCH(self) -> None:
            self._told()

        def do_DELETE(self) -> None:
            self._told()

        def _told(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.asked.append((f"{self.command} {self.path}", json.loads(body) if body else None))
            script.headers.append(dict(self.headers))
            answer = script.next()
            if answer is None:
                self.close_connection = True
                return
            status, told = answer(script.asked[-1][1]) if callable(answer) else answer
            sent = b"" if status == 204 else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Nothing into the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Speaks)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
