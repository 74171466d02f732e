"""Keep-alive clients that post tasks as fast as they are answered, in a process that costs the machine little.

``python -m jobrunner.bench.clients``; for each count that it is told it answers with what it saw.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlsplit

from jobrunner.bench import helper, tasks
from jobrunner.bench.figure import percentile
from jobrunner.queue.request import new_id

ACCEPTED = 202


class Client:
    """One connection; a request is its bytes and an answer its status: a whole client would cost what it measures.

    ``request`` has a place for a task_id where each is to bring its own.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        self._reader, self._writer, self._request = reader, writer, request
        self._named = _PLACE in request
        self.took: list[float] = []
        self.accepted = 0

    async def post(self, count: int) -> None:
        """So many requests, one after the other; keeps the seconds of each."""
        for _ in range(count):
            began = time.perf_counter()
            self._writer.write(self._request.replace(_PLACE, new_id().encode()) if self._named else self._request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await self._reader.readexactly(int(length))
            self.took.append(time.perf_counter() - began)
            self.accepted += int(head[9:12]) == ACCEPTED

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


_PLACE = b"?" * len(new_id())  # as long as what comes there


def _request(host: str, named: bool) -> bytes:
    asked = {"task_type": tasks.NOOP, "task_data": tasks.PAYLOAD}
    body = json.dumps(asked | ({"task_id": _PLACE.decode()} if named else {})).encode()
    head = f"POST /api/v1/task/execute HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def post(url: str, count: int, concurrency: int, named: bool) -> dict[str, Any]:
    """``count`` requests over so many connections: seconds in all, percentiles in ms, and how many succeeded."""
    parts = urlsplit(url)
    pairs = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(concurrency)]
    clients = [Client(*pair, _request(parts.netloc, named)) for pair in pairs]
    began = time.perf_counter()
    await asyncio.gather(*[client.post(count // concurrency) for client in clients])
    seconds = time.perf_counter() - began
    for client in clients:
        client.close()
    took = [each * 1e3 for client in clients for each in client.took]
    accepted = sum(client.accepted for client in clients)
    return {"seconds": seconds, "p50": percentile(took, 50), "p99": percentile(took, 99), "accepted": accepted}


def main() -> None:
    """Answer until the bench is gone."""
    given = helper.told()
    helper.answer("ready")
    while True:
        wish = helper.told()
        helper.answer(asyncio.run(post(given["server"], wish["count"], given["concurrency"], wish["named"])))


if __name__ == "__main__":
    main()
