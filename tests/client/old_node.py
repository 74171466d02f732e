"""A node of the old system, from the seed guide: its calls and fields alone, results in memory, naive times.

It runs every request that it gets, also one that it had before: nothing about the same ``task_id`` was ever promised.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class OldNode:
    """Serves on 127.0.0.1 while it is used as a context manager; ``ran`` are the task_ids in the order of their runs.

    A task takes ``seconds``; ``full`` makes it refuse as the old system did.
    """

    def __init__(self, seconds: float = 0.3) -> None:
        self.seconds = seconds
        self.full = False
        self.ran: list[str] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        handler = type("Handler", (_Handler,), {"node": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]

    def execute(self, told: dict[str, Any]) -> dict[str, Any]:
        """Run a task in a thread, and answer at once."""
        task_id, now = told["task_id"], datetime.now().isoformat()
        self.ran.append(task_id)
        status = {"status": "running", "result": None, "error": None, "started_at": now, "completed_at": None}
        self.tasks[task_id] = {"task_id": task_id, **status, "execution_time": None}
        threading.Thread(target=self._run, args=(told,), daemon=True).start()
        return {"task_id": task_id, "status": "running", "message": "started", "started_at": now, "completed_at": None}

    def _run(self, told: dict[str, Any]) -> None:
        time.sleep(self.seconds)
        count = len(told["task_data"].get("symbols", []))
        result = {"task_type": told["task_type"], "symbols_count": count, "imported_count": count, "total_records": 9}
        ended = {"status": "completed", "result": result, "completed_at": datetime.now().isoformat()}
        if told["task_id"] in self.tasks:  # else it was forgotten
            self.tasks[told["task_id"]] |= {**ended, "execution_time": self.seconds}

    def health(self) -> dict[str, Any]:
        """The guide's health."""
        figures = {"cpu_percent": 5.0, "memory_percent": 20.0, "uptime_seconds": 60.0}
        counts = {"active_tasks": 0, "completed_tasks": 0, "failed_tasks": 0}
        named = {"node_id": "old-1", "node_name": "Old", "status": "healthy", "capabilities": ["data_import"]}
        return {**named, **figures, **counts, "last_heartbeat": datetime.now().isoformat()}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    node: OldNode

    def do_GET(self) -> None:
        if self.path == "/api/v1/health":
            self._answer(200, self.node.health())
        elif self.path == "/":
            self._answer(200, {"service": "distributed node", "version": "1.0.0", "status": "running"})
        else:
            task_id = self.path.split("/")[-2] if self.path.endswith("/status") else ""
            found = self.node.tasks.get(task_id)
            self._answer(200 if found else 404, found or {"detail": "Not Found"})

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.node.full:
            self._answer(503, {"detail": "node is overloaded"})
        else:
            self._answer(200, self.node.execute(told))

    def _answer(self, status: int, told: Any) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
