"""Where submissions meet: those that arrive while others are being stored go together, in one transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable, JobrunnerError
from jobrunner.queue import store
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import NewTask
from jobrunner.settings.failpoints import hit
from jobrunner.submission import Request, prepare

MOST = 64  # submissions in one transaction


class Intake:
    """Stores submissions that can meet no other task: they bring neither a task_id nor a unique_key.

    Each gets its own answer, and a refusal spoils no other. A key can make an INSERT wait for somebody's open
    transaction, and all that came with it: those go alone.
    """

    def __init__(self, database: Database, *, allow_unknown: bool) -> None:
        self._database = database
        self._allow_unknown = allow_unknown
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Desk] = WeakKeyDictionary()

    async def submit(self, request: Request) -> Submitted:
        """Store one; raises what ``submission.submit`` raises."""
        loop = asyncio.get_running_loop()
        desk = self._desks.setdefault(loop, _Desk())
        answer: asyncio.Future[Submitted] = loop.create_future()
        desk.waiting.append((request, answer))
        if desk.busy is None:
            desk.busy = loop.create_task(self._work_off(desk))
        return await answer

    async def _work_off(self, desk: _Desk) -> None:
        try:
            while desk.waiting:
                batch, desk.waiting = desk.waiting[:MOST], desk.waiting[MOST:]
                try:
                    told = await run_in_threadpool(self._store, [request for request, _ in batch])
                except Exception as error:  # noqa: BLE001 - handed to everybody who waits
                    told = [error] * len(batch)
                for (_, answer), found in zip(batch, told, strict=True):
                    if answer.done():  # its caller went away
                        continue
                    if isinstance(found, Exception):
                        answer.set_exception(found)
                    else:
                        answer.set_result(found)
        finally:
            desk.busy = None

    def _store(self, requests: list[Request]) -> list[Submitted | Exception]:
        try:
            return self._store_together(requests)
        except DatabaseUnavailable:
            raise
        except Exception:
            if len(requests) == 1:
                raise
        return [self._store_alone(request) for request in requests]

    def _store_together(self, requests: list[Request]) -> list[Submitted | Exception]:
        with self._database.begin() as conn:
            checked = [self._check(conn, request) for request in requests]
            new = [found for found in checked if isinstance(found, NewTask)]
            stored = iter(store.enqueue_many(conn, new) if len(new) > 1 else [store.enqueue(conn, one) for one in new])
            told: list[Submitted | Exception] = [
                next(stored) if isinstance(found, NewTask) else found for found in checked
            ]
            hit("submit-before-commit")
        return told

    def _check(self, conn: Connection, request: Request) -> NewTask | JobrunnerError:
        try:
            return prepare(conn, [request], allow_unknown=self._allow_unknown)[0]
        except JobrunnerError as error:  # of this request alone; any other is met by trying each of them alone
            return error

    def _store_alone(self, request: Request) -> Submitted | Exception:
        try:
            return self._store_together([request])[0]
        except Exception as error:  # noqa: BLE001 - handed to who asked
            return error


@dataclass(slots=True)
class _Desk:
    """What waits in one event loop, and who works it off."""

    waiting: list[tuple[Request, asyncio.Future[Submitted]]] = field(default_factory=list)
    busy: asyncio.Task[None] | None = None
