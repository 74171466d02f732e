"""Where submissions meet: those that arrive while others are being stored go together, in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from jobrunner.api.callers import Caller
from jobrunner.api.caps import Caps
from jobrunner.api.problems import Refused
from jobrunner.db.engine import DEADLINE, Database
from jobrunner.errors import DatabaseBusy, DatabaseUnavailable, JobrunnerError
from jobrunner.queue import store, views
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import NewTask
from jobrunner.queue.views import TaskView
from jobrunner.settings.failpoints import hit
from jobrunner.submission import Request, prepare

MOST = 64  # submissions in one transaction
PATIENCE = 0.02  # seconds that submissions wait, together or alone, for somebody's open transaction that has their key
AGAIN = 0.2  # seconds from then until one asks again, alone

Found = Submitted | TaskView
"""What a submission came to: a new task, or how the one stands that an earlier, equal request made."""


class Intake:
    """Stores submissions. Each gets its own answer: where one is refused, breaks or has to wait, it does so alone.

    A task_id or unique_key can make an INSERT wait for somebody's open transaction. So requests with keys have a desk
    of their own, and what has to wait there for longer than PATIENCE asks again by itself, for as long as any
    transaction may take; in between it holds neither a connection nor the others.
    """

    def __init__(self, database: Database, *, allow_unknown: bool) -> None:
        self._database = database
        self._allow_unknown = allow_unknown
        self._caps = Caps()
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Desk, _Desk]] = WeakKeyDictionary()

    async def submit(self, request: Request, caller: Caller) -> Found:
        """Store one; raises what ``submission.submit`` raises, or Refused for a queue that is not the caller's."""
        loop = asyncio.get_running_loop()
        desk = self._desks.setdefault(loop, (_Desk(), _Desk()))[request.keyed]
        answer: asyncio.Future[Found] = loop.create_future()
        desk.waiting.append(_Asked(request, caller, answer))
        if desk.busy is None:
            desk.busy = loop.create_task(self._work_off(desk))
        return await answer

    async def _work_off(self, desk: _Desk) -> None:
        try:
            while desk.waiting:
                batch, desk.waiting = desk.waiting[:MOST], desk.waiting[MOST:]
                batch.sort(key=_place)
                error = await self._serve(batch)
                if error is None:
                    continue
                if not _may_go_alone(batch, error):
                    _answer(batch, [error] * len(batch))
                    continue
                for one in batch:
                    alone = asyncio.create_task(self._serve_alone(one))
                    desk.alone.add(alone)
                    alone.add_done_callback(desk.alone.discard)
        finally:
            desk.busy = None

    async def _serve_alone(self, one: _Asked) -> None:
        until = time.monotonic() + DEADLINE
        while not one.answer.done() and (error := await self._serve([one])):
            if time.monotonic() > until or not _may_go_alone([one], error):
                _answer([one], [error])
                return
            await asyncio.sleep(AGAIN)

    async def _serve(self, batch: list[_Asked]) -> Exception | None:
        """Store and answer; where that fails as a whole nobody is answered, and what was in the way is returned."""
        try:
            told = await run_in_threadpool(self._store, batch)
        except Exception as error:  # noqa: BLE001 - handed to who asked, in the end
            return error
        _answer(batch, told)
        return None

    def _store(self, batch: list[_Asked]) -> list[Found | Exception]:
        keyed = batch[0].request.keyed
        with self._caps.room() as room, self._transaction(keyed) as conn:
            checked = room.admitted(conn, [self._check(conn, one) for one in batch])
            new = [found for found in checked if isinstance(found, NewTask)]
            made = store.enqueue_many(conn, new, fresh=not keyed)
            room.stored.update(one.queue for one, found in zip(new, made, strict=True) if found.created)
            stored = iter(made)
            told: list[Found | Exception] = [
                _as_it_stands(conn, next(stored), one.caller) if isinstance(found, NewTask) else found
                for one, found in zip(batch, checked, strict=True)
            ]
            hit("submit-before-commit")
        return told

    def _transaction(self, keyed: bool) -> AbstractContextManager[Connection]:
        return self._database.begin(patience=PATIENCE) if keyed else self._database.single()

    def _check(self, conn: Connection, one: _Asked) -> NewTask | Exception:
        try:
            new = prepare(conn, one.request, allow_unknown=self._allow_unknown)
        except DatabaseUnavailable:
            raise
        except JobrunnerError as error:  # of this request alone; any other is met by trying each of them alone
            return error
        if not one.caller.sees(new.queue):
            return Refused(403, "forbidden", f"{one.caller.who} does not submit to the queue {new.queue!r}")
        return new


def _as_it_stands(conn: Connection, stored: Submitted, caller: Caller) -> Found | Exception:
    if stored.created:
        return stored
    view = views.task(conn, stored.task_id)
    return view if caller.sees(view.queue) else Refused(409, "task_exists", "a task of another queue has this key")


class _Asked(NamedTuple):
    request: Request
    caller: Caller
    answer: asyncio.Future[Found]


def _place(asked: _Asked) -> tuple[str, str]:
    """Keys have one order everywhere: two servers with the same ones shall not wait for each other."""
    options = asked.request.options
    return options.get("unique_key") or "", options.get("task_id") or ""


def _may_go_alone(batch: list[_Asked], error: Exception) -> bool:
    return isinstance(error, DatabaseBusy) or (len(batch) > 1 and not isinstance(error, DatabaseUnavailable))


def _answer(batch: list[_Asked], told: Sequence[Found | Exception]) -> None:
    for one, found in zip(batch, told, strict=True):
        if one.answer.done():  # its caller went away
            continue
        if isinstance(found, Exception):
            one.answer.set_exception(found)
        else:
            one.answer.set_result(found)


@dataclass(slots=True)
class _Desk:
    """What waits in one event loop, who works it off, and who asks alone."""

    waiting: list[_Asked] = field(default_factory=list)
    busy: asyncio.Task[None] | None = None
    alone: set[asyncio.Task[None]] = field(default_factory=set)
