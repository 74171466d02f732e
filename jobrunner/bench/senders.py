"""Who hands tasks in while latencies are taken: jobrunner's own ways, and the bare ones, each with its clock.

A sender is called with nothing and returns the task_id and the moment before it began, in nanoseconds.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

import psycopg

from jobrunner.bench import bare_file, tasks
from jobrunner.bench.bare_insert import INSERT_NOTIFY, row
from jobrunner.bench.bare_listen import stamp
from jobrunner.bench.errors import BenchFailed
from jobrunner.client.desk import Desk
from jobrunner.client.local import Local
from jobrunner.client.remote import Remote
from jobrunner.client.watch import watch
from jobrunner.queue.task import Status

PAUSE, JITTER = 0.020, 0.010  # seconds between two samples, so that each finds an idle worker

Sender = Callable[[], tuple[str, int]]


class _Stays:
    """A desk that stays open through somebody else's ``with`` block, as the one of a program that asks again."""

    def __exit__(self, *_: object) -> None:
        """Not yet; see :meth:`close`."""

    def close(self) -> None:
        """Now."""
        closing: Any = super()
        closing.__exit__()


class OpenLocal(_Stays, Local):
    """At the database."""


class OpenRemote(_Stays, Remote):
    """Over REST."""


def through(desk: Desk) -> Sender:
    """Submits to a desk."""

    def send() -> tuple[str, int]:
        began = time.time_ns()
        return str(desk.submit(tasks.STAMP, tasks.PAYLOAD, {})["task_id"]), began

    return send


def inserting(conn: psycopg.Connection[Any], channel: str) -> Sender:
    """One statement that inserts and notifies, and its commit."""

    def send() -> tuple[str, int]:
        began = time.time_ns()
        given = row(tasks.BARE, tasks.PAYLOAD)
        conn.execute(INSERT_NOTIFY, (*given, channel))
        return given[0], began

    return send


def rest() -> None:
    """The pause between two samples."""
    time.sleep(PAUSE + random.random() * JITTER)  # noqa: S311 - no secret


class BareFile(AbstractContextManager["BareFile"]):
    """The shortest way in one process on a SQLite file: insert, commit, wake a loop, claim, commit, run.

    ``latencies`` holds nanoseconds from the row's ``created_at`` to the handler's first line.
    """

    def __init__(self, path: str) -> None:
        self._conn = bare_file.connect(path)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.latencies: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._conn.close()

    def send(self) -> None:
        """One task, to its end."""
        created = bare_file.micros()
        bare_file.insert(self._conn, tasks.BARE, tasks.PAYLOAD, 1)
        asyncio.run_coroutine_threadsafe(self._take(created), self._loop).result(timeout=30)

    async def _take(self, created: int) -> None:
        token = secrets.token_hex(16)
        rows = bare_file.claim(self._conn, tasks.BARE, 10, token)
        told = [await asyncio.create_task(stamp(each[3])) for each in rows]
        self.latencies += [one["at"] - created * 1_000 for one in told]
        bare_file.complete(self._conn, rows, told, token)


def there_and_back(desk: Desk, within: float) -> int:
    """Nanoseconds from before a submit until its result is in the caller's hands."""
    task_id, began = through(desk)()
    for answer in watch(lambda: desk, [task_id], timeout=within):
        ended, status = time.time_ns(), answer["status"]
    if status != Status.COMPLETED:
        raise BenchFailed(f"task {task_id} was to complete: {status}")
    return ended - began
