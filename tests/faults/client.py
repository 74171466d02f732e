"""Clients that ask until they are told, under ids of their own, and keep what they were told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jobrunner.db.engine import open_database
from jobrunner.errors import DatabaseUnavailable, StateConflict, TaskExists
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.queue.task import NewTask
from tests.faults.history import Call
from tests.faults.plan import Request

PAUSE = 0.05  # seconds between two tries


class Client:
    """Submits, cancels and retries past every server; ``calls`` keeps each try, ``accepted`` the acknowledged ids."""

    def __init__(self, url: str) -> None:
        self._database = open_database(url)
        self.calls: list[Call] = []
        self.accepted: list[str] = []

    def close(self) -> None:
        """Close its connections."""
        self._database.dispose()

    def submit(self, new: NewTask) -> None:
        """Again and again, until it is acknowledged, refused, or joined to the open task that has its unique key."""
        while True:
            since = time.time()
            try:
                with self._database.begin() as conn:
                    told = store.enqueue(conn, new)
            except DatabaseUnavailable:
                self._told(new, "unknown", since)
                time.sleep(PAUSE)
                continue
            except TaskExists:
                self._told(new, "fail", since)
            else:
                if told.task_id == new.task_id:
                    self.accepted.append(new.task_id)
                    self._told(new, "ok", since)
                else:
                    self._told(new, "joined", since, joined=told.task_id)
            return

    def cancel(self, task_id: str) -> None:
        """Once; whoever was not told has to take it as it comes."""
        self._ask("cancel", task_id, lambda conn: store.cancel(conn, task_id))

    def retry(self, task_id: str) -> None:
        """Once, likewise."""
        self._ask("retry", task_id, lambda conn: store.retry(conn, task_id))

    def _ask(self, what: str, task_id: str, act: Callable[..., object]) -> None:
        since = time.time()
        try:
            with self._database.begin() as conn:
                act(conn)
        except StateConflict:
            result = "fail"
        except DatabaseUnavailable:
            result = "unknown"
        else:
            result = "ok"
        self.calls.append(Call(what, task_id, result, time.time(), since=since))

    def _told(self, new: NewTask, result: str, since: float, joined: str | None = None) -> None:
        key = new.unique_key
        self.calls.append(Call("submit", new.task_id, result, time.time(), new.request_hash, key, joined, since))


class Steady(threading.Thread):
    """Submits one small task after the other until told to stop; ``longest`` is what one of them took, in seconds."""

    def __init__(self, url: str, ledger: Path, pause: float) -> None:
        super().__init__(name="client", daemon=True)
        self._client = Client(url)
        self._data = {"ledger": str(ledger)}
        self._pause = pause
        self._enough = threading.Event()
        self.longest = 0.0

    @property
    def accepted(self) -> list[str]:
        """The ids that were acknowledged so far."""
        return self._client.accepted

    def run(self) -> None:
        number = 0
        while not self._enough.wait(self._pause):
            began = time.monotonic()
            self._client.submit(new_task("fault.async", self._data, task_id=f"client-{number:06}"))
            self.longest = max(self.longest, time.monotonic() - began)
            number += 1
        self._client.close()

    def stop(self) -> None:
        """Let it end, and wait for that."""
        self._enough.set()
        self.join()


class Caller(threading.Thread):
    """Asks for what the plan says, each thing at its moment or as soon after it as the one before is answered."""

    def __init__(self, url: str, requests: list[Request], ledger: Path) -> None:
        super().__init__(name="client", daemon=True)  # it would go on asking a server that is gone
        self.client = Client(url)
        self.error: BaseException | None = None
        self._acts: list[tuple[float, Callable[[], None]]] = []
        for one in requests:
            data = {"ledger": str(ledger), **one.data}
            self._at(one.at, self.client.submit, new_task(one.task_type, data, task_id=one.task_id, **one.options))
            self._at(one.cancel_at, self._if_accepted, self.client.cancel, one.task_id)
            self._at(one.retry_at, self._if_accepted, self.client.retry, one.task_id)
            other = new_task(one.task_type, {**data, "other": True}, task_id=one.task_id)
            self._at(one.other_at, self._if_accepted, lambda _id, other=other: self.client.submit(other), one.task_id)
        self._acts.sort(key=lambda act: act[0])

    def _at(self, moment: float | None, act: Callable[..., None], *told: Any) -> None:
        if moment is not None:
            self._acts.append((moment, partial(act, *told)))

    def _if_accepted(self, act: Callable[[str], None], task_id: str) -> None:
        if task_id in self.client.accepted:
            act(task_id)

    def run(self) -> None:
        start = time.monotonic()
        try:
            for at, act in self._acts:
                time.sleep(max(0.0, start + at - time.monotonic()))
                act()
        except BaseException as error:
            self.error = error
        finally:
            self.client.close()
