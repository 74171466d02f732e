"""Event streams as clients read them, over a real connection."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from tests.api.conftest import Api

EVENTS = "/api/v1/events"


class Stream:
    """Events as they come, each with the time it came, read in a thread."""

    def __init__(self, url: str, path: str, headers: dict[str, str]) -> None:
        self.url = url
        self._path = path
        self._given = headers
        self.seen: list[tuple[float, str, dict[str, Any], str]] = []
        self.headers: dict[str, str] = {}
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        told: dict[str, str] = {}
        with (
            httpx2.Client(timeout=30, verify=False) as client,
            client.stream("GET", f"{self.url}{self._path}", headers=self._given) as answer,
        ):
            self.headers = dict(answer.headers)
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    told[name] = value
                elif "data" in told:
                    self.seen.append((time.monotonic(), told["event"], json.loads(told["data"]), told.get("id", "")))
                    told = {}
        self.ended.set()

    def wait_for(self, count: int, within: float = 20.0) -> list[tuple[str, dict[str, Any]]]:
        deadline = time.monotonic() + within
        while len(self.seen) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.seen) >= count, self.seen
        return [(event, told) for _, event, told, _ in self.seen]


@contextmanager
def streaming(api: Api, url: str, path: str = EVENTS, **headers: str) -> Iterator[Stream]:
    """A stream, until it has ended: at the latest when the process wishes to stop."""
    stream = Stream(url, path, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        yield stream
    finally:
        api.asked.stopping = True  # open streams end by themselves
        ended = stream.ended.wait(15)
        api.asked.stopping = False
        assert ended, "the stream outlived the process's wish to stop"
