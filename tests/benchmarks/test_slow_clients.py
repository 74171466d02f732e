"""Five hundred clients who send drop by drop, side by side with nobody: what a normal call then costs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest

from tests.processes import Processes, free_port

SLOW = 500
CALLS = 1_000
ROUNDS = 3
HEAD = b"POST /api/v1/task/execute HTTP/1.1\r\nHost: localhost\r\nX-Drop: "


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_normal_call_hardly_feels_five_hundred_slow_clients(sqlite_url: str, processes: Processes) -> None:
    port = free_port()
    server = processes.start("up", "--port", str(port), env={"JOBRUNNER_DATABASE_URL": sqlite_url}, port=port)
    server.wait_healthy()
    ratios = []
    for _ in range(ROUNDS):
        alone = _p99(server.url)
        with _slow_clients(port) as connected:
            crowded = _p99(server.url)
            assert connected() > SLOW * 0.9
        ratios.append(crowded / alone)
        print(f"FIGURE p99 of a call: {alone * 1_000:.1f} ms alone, {crowded * 1_000:.1f} ms among {SLOW} slow clients")
    assert sorted(ratios)[ROUNDS // 2] <= 2.0, ratios


def _p99(url: str) -> float:
    took = []
    with httpx2.Client(base_url=url) as client:
        for _ in range(CALLS):
            began = time.perf_counter()
            assert client.get("/api/v1/tasks?limit=5").status_code == 200
            took.append(time.perf_counter() - began)
    return sorted(took)[int(CALLS * 0.99)]


@contextmanager
def _slow_clients(port: int) -> Iterator[Callable[[], int]]:
    """Each connects, sends a head drop by drop, and begins anew where it is cut."""
    ready, ended = threading.Event(), threading.Event()
    here = 0

    async def one() -> None:
        nonlocal here
        while not ended.is_set():
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                here += 1
                writer.write(HEAD)
                try:
                    while not (ended.is_set() or reader.at_eof()):
                        writer.write(b"x")
                        await asyncio.sleep(0.5)
                finally:
                    here -= 1
                    writer.close()

    async def all_of_them() -> None:
        clients = [asyncio.ensure_future(one()) for _ in range(SLOW)]
        while here < SLOW * 0.95:
            await asyncio.sleep(0.05)
        ready.set()
        await asyncio.gather(*clients)

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield lambda: here
    finally:
        ended.set()
        thread.join(20)
