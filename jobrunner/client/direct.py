"""A place straight at the database, for when no server stands between; where nobody works there, this process does."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from jobrunner.client.choose import open_desk
from jobrunner.client.desk import Answer, Desk
from jobrunner.client.errors import ClientClosed, Refused, Unreachable, done
from jobrunner.client.local import Local
from jobrunner.client.place import Submitted
from jobrunner.client.runners import LOOK, Runner
from jobrunner.client.shapes import Request
from jobrunner.client.tries import Tries
from jobrunner.db.notes import CANCEL, WORK
from jobrunner.errors import DatabaseLocked, HandlerError, JobrunnerError, SchemaMismatch
from jobrunner.handlers import load as load_handlers
from jobrunner.handlers import registry
from jobrunner.queue.task import ENDED
from jobrunner.runtime.embedded import Embedded
from jobrunner.settings import Settings
from jobrunner.submission import Request as Prepared

NEWEST = 200  # tasks whose changes are seen without a server
WORKERS_EVERY = 5.0  # seconds between two looks whether anybody works

Told = TypeVar("Told")


class Direct:
    """The database of ``settings``. ``run_here``: who waits for a task that nobody else would run has it run here.

    A SQLite file is held for each call alone, until this process works on it. One that another process serves is asked
    for over REST.
    """

    def __init__(self, settings: Settings, runner: Runner, *, patience: float, run_here: bool) -> None:
        self._settings = settings
        self._runner = runner
        self.patience = patience
        self._run_here = run_here
        self._lock = threading.RLock()
        self._desk: Local | None = None  # kept open, unless it is one of a file
        self._here: Embedded | None = None
        self._asked_at: dict[tuple[str, str], float] = {}  # whether anybody works off a type in a queue
        self._closed = False

    async def submit(self, request: Request) -> Answer:
        def act() -> Answer:
            with self._open() as desk:
                told = desk.submit(request.task_type, request.data, dict(request.options))
            self._hint(WORK)
            return told

        return await self._ask(act, task_id=str(request.options.get("task_id") or ""), changes=True)

    async def submit_many(self, requests: Sequence[Request]) -> list[Submitted]:
        prepared = [Prepared(one.task_type, one.data, dict(one.options)) for one in requests]

        def act() -> list[Submitted]:
            with self._open() as desk:
                if not isinstance(desk, Local):  # a server has the file
                    return [_alone(desk, one) for one in prepared]
                told = desk.submit_many(prepared)
            self._hint(WORK)
            return told

        return await self._ask(act, changes=True)

    async def task(self, task_id: str) -> Answer:
        return await self._ask(lambda: self._look(task_id))

    async def wait(self, task_id: str, seconds: float, patience: float) -> Answer:
        waits = min(seconds, self._runner.slice)
        return await self._tried(lambda: self._wait(task_id, waits), Tries(min(patience, self.patience)))

    async def attempts(self, task_id: str) -> Answer:
        return await self._ask(self._asking(lambda desk: desk.attempts(task_id)))

    async def logs(self, task_id: str, after: int) -> Answer:
        return await self._ask(self._asking(lambda desk: desk.logs(task_id, after=after)))

    async def cancel(self, task_id: str, reason: str) -> Answer:
        def act() -> None:
            with self._open() as desk:
                desk.only_cancel(task_id, reason)
            self._hint(CANCEL)

        await self._ask(act, task_id=task_id, changes=True)
        with done(task_id, "cancel", again=True):
            return await self.task(task_id)

    async def retry(self, task_id: str) -> Answer:
        def act() -> None:
            with self._open() as desk:
                desk.only_retry(task_id)
            self._hint(WORK)

        await self._ask(act, task_id=task_id, again=False, changes=True)
        with done(task_id, "retry", again=False):  # each half is tried for itself: the second may cost no second retry
            return await self.task(task_id)

    async def events(self, queue: str | None) -> AsyncGenerator[tuple[str, Answer, str], None]:
        seen: dict[str, Answer] | None = None
        while True:
            page = await self._ask(self._asking(lambda desk: desk.tasks(queue=queue, limit=NEWEST)))
            now = {task["task_id"]: task for task in page["tasks"]}
            changed = {name: task["status"] for name, task in now.items() if seen is None or seen.get(name) != task}
            if changed or seen is None:
                yield "snapshot" if seen is None else "changed", {"tasks": changed}, ""
            seen = now
            await self._runner.sleep(2 * LOOK)

    async def task_events(self, task_id: str) -> AsyncGenerator[Answer, None]:
        last: Answer = {}
        while True:
            told = await self.wait(task_id, LOOK, self.patience)
            if told != last:
                last = told
                yield told
            if told["status"] in ENDED:
                return

    async def sleep(self, seconds: float) -> None:
        await self._runner.sleep(seconds)

    async def close(self) -> None:
        if not self._closed:
            await self._runner.run(self._close)
        self._runner.close()

    def _close(self) -> None:
        self._runner.stop()
        with self._lock:
            self._closed = True
            desk, self._desk = self._desk, None
            here, self._here = self._here, None
        if desk is not None:
            desk.__exit__()
        if here is not None:
            here.close()

    async def _ask(self, act: Callable[[], Told], **told: Any) -> Told:
        return await self._tried(lambda: self._runner.run(act), Tries(self.patience, **told))

    async def _tried(self, act: Callable[[], Awaitable[Told]], tries: Tries) -> Told:
        while True:
            try:
                return await act()
            except JobrunnerError as error:
                rest = tries.after(error)
            await self._runner.sleep(rest)

    def _asking(self, ask: Callable[[Desk], Answer]) -> Callable[[], Answer]:
        def act() -> Answer:
            with self._open() as desk:
                return ask(desk)

        return act

    def _look(self, task_id: str) -> Answer:
        with self._open() as desk:
            return desk.task(task_id)

    @contextmanager
    def _open(self) -> Iterator[Desk]:
        with self._lock:
            if self._closed:
                raise ClientClosed
            if self._desk is not None:
                yield self._desk
                return
            desk = self._opened()
            if isinstance(desk, Local) and not desk.exclusive:
                self._desk = desk
                yield desk
                return
            with desk:
                yield desk

    def _opened(self) -> Desk:
        try:
            return open_desk(self._settings)
        except SchemaMismatch:
            if not self._settings.is_sqlite or not self._run_here:
                raise
        from jobrunner.db import migrate  # only now: it brings all of Alembic

        migrate.upgrade(self._settings.url)  # as a worker on this file would begin
        return open_desk(self._settings)

    def _hint(self, topic: str) -> None:
        here = self._here
        if here is not None:
            here.hint(topic)

    # -- waiting --------------------------------------------------------------------------------------------------

    async def _wait(self, task_id: str, seconds: float) -> Answer:
        here = self._here
        if here is not None and here.works and seconds > 0:
            return await self._until_told(here, task_id, seconds)
        told, here = await self._runner.run(lambda: self._look_for_worker(task_id, seconds))
        if told["status"] in ENDED or seconds <= 0:
            return told
        if here is not None:
            return await self._until_told(here, task_id, seconds)
        desk = self._desk
        if desk is None:  # another process has the file
            await self._runner.sleep(min(LOOK, seconds))
        else:
            found = await self._runner.ended(desk, task_id, seconds)
            if found is not None:
                return found
        return await self._runner.run(lambda: self._look(task_id))

    def _look_for_worker(self, task_id: str, seconds: float) -> tuple[Answer, Embedded | None]:
        """The task, and where it has not ended and is waited for, the worker of this process that runs it."""
        told = self._look(task_id)
        if told["status"] in ENDED or seconds <= 0:
            return told, None
        return told, self._worker(told["task_type"], told["queue"])

    async def _until_told(self, here: Embedded, task_id: str, seconds: float) -> Answer:
        ended = self._runner.signal()

        def told(_task_id: str) -> None:
            ended.set()

        here.ends.wait([task_id], told)
        try:
            now = await self._runner.run(lambda: self._look(task_id))
            if now["status"] in ENDED:
                return now
            if self._settings.is_sqlite and here.came_too_late(now["task_type"]):  # elsewhere another may run it
                raise HandlerError(
                    f"handler {now['task_type']!r} was declared after this program had begun to run tasks: "
                    "import its module before the first wait"
                )
            await ended.wait(seconds)
        finally:
            here.ends.wait_no_more([task_id], told)
        return await self._runner.run(lambda: self._look(task_id))

    def _worker(self, task_type: str, queue: str) -> Embedded | None:
        """The worker of this process, begun where nobody else would run this; None where somebody does, or may."""
        with self._lock:
            if self._here is not None and not self._here.works:
                self._let_go_of_worker()  # it broke, or handlers took all its slots for good
            if self._here is not None or not self._run_here or self._closed:
                return self._here
            asked_at = self._asked_at.get((task_type, queue), -math.inf)
            if time.monotonic() - asked_at < WORKERS_EVERY and not self._settings.is_sqlite:
                return None
            with self._open() as desk:
                works = not isinstance(desk, Local) or (not desk.exclusive and _works(desk, task_type, queue))
            if not works:
                self._here = self._begun(task_type)
            if self._here is None:
                self._asked_at[task_type, queue] = time.monotonic()
            return self._here

    def _begun(self, task_type: str) -> Embedded | None:
        """A worker in this process; None where it cannot run this, or a server has come between, and runs it."""
        load_handlers(self._settings.handlers)
        if self._settings.is_sqlite:
            registry.get(task_type)  # nobody else can run it as long as we have the file: better said than waited for
        elif registry.find(task_type) is None:
            return None
        try:
            here = Embedded(self._settings)
        except DatabaseLocked as held:
            if not held.owner.get("url"):
                raise
            return None
        try:
            here.work()
            if self._settings.is_sqlite:
                self._desk = Local(
                    self._settings.url,
                    allow_unknown=self._settings.allow_unknown_types,
                    handlers=self._settings.handlers,
                    database=here.database,
                )
        except BaseException:  # it never began, or cannot be asked: the next wait begins one
            here.close()
            raise
        return here

    def _let_go_of_worker(self) -> None:
        here, self._here = self._here, None
        if self._settings.is_sqlite and self._desk is not None:  # which is at its database
            self._desk.__exit__()
            self._desk = None
        if here is not None:
            here.close()


def _works(desk: Desk, task_type: str, queue: str) -> bool:
    """Whether a living node claims tasks of this type from this queue."""
    return any(
        node["alive"]
        and node["drain_requested_at"] is None
        and task_type in (node["types"] or ())
        and (node["queues"] is None or queue in node["queues"])
        for node in desk.nodes()["nodes"]
    )


def _alone(desk: Desk, request: Prepared) -> Submitted:
    try:
        return desk.submit(request.task_type, request.payload, request.options)
    except JobrunnerError as error:
        if isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status >= 500):
            raise  # perhaps it was added: all are asked for again, under their ids
        return error
