"""A node whose answers a test writes down: for what no real node does when it is asked to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from jobrunner.client.bridge import DistributedBridge

Told = tuple[int, dict[str, Any]]
"""A status and a JSON object."""


class Scripted:
    """Serves on 127.0.0.1 while it is used as a context manager; as a node of jobrunner, unless it is told otherwise.

    ``script`` has answers for the beginning of a request line (``"POST"``, ``"GET /api/v1/nodes"``), each used once;
    then those of a healthy node come. ``status`` is what tasks are then. While ``down`` it cuts every connection.
    """

    def __init__(self, name: str, fleet: str = "", *, cpu: float = 0.0, status: str = "completed") -> None:
        self.name = name
        self.fleet = fleet or name
        self.cpu = cpu
        self.status = status
        self.down = False
        self.script: dict[str, list[Told]] = {}
        self.taken: list[str] = []  # the task_ids that it accepted, in their order
        self.asked: list[str] = []  # the request lines
        self.before: Callable[[str], None] = lambda _line: None  # runs in the thread of each request
        handler = type("Handler", (_Handler,), {"node": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]

    def known_to(self, bridge: DistributedBridge) -> None:
        """Have the bridge use it, under its name."""
        bridge.add_node(self.name, "127.0.0.1", self.port)

    def answer(self, line: str, body: dict[str, Any]) -> Told:
        """What it says to a request."""
        for start, answers in self.script.items():
            if line.startswith(start) and answers:
                return answers.pop(0)
        if line.endswith("/cancel "):
            return 202, {}
        if line.startswith("POST"):
            self.taken.append(body["task_id"])
            return 202, {"task_id": body["task_id"], "status": "pending"}
        path = line.split(" ")[1].partition("?")[0]
        if path == "/api/v1/health":
            return 200, self._health()
        if path == "/api/v1/nodes":
            return 200, {"nodes": [{"id": one, "alive": True} for one in self.fleet]}
        if path == "/":
            return 200, {"service": "jobrunner"}
        return 200, {"task_id": path.split("/")[4], "status": self.status, "result": {}}

    def _health(self) -> dict[str, Any]:
        named = {"node_id": self.name, "node_name": self.name, "status": "healthy", "capabilities": []}
        counts = {"active_tasks": 0, "completed_tasks": 0, "failed_tasks": 0, "uptime_seconds": 1.0}
        figures = {"cpu_percent": self.cpu, "memory_percent": 0.0, "last_heartbeat": datetime.now().isoformat()}
        return {**named, **counts, **figures}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    node: Scripted

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _serve(self, body: dict[str, Any]) -> None:
        line = f"{self.command} {self.path} "
        self.node.asked.append(line)
        self.node.before(line)
        if self.node.down:
            self.close_connection = True
            return
        status, told = self.node.answer(line, body)
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
