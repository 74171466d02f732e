"""A desk straight at the database, for when no server stands between."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobrunner.background import schedules
from jobrunner.background.operations import Operations
from jobrunner.client.awaiting import PART, Awaiting
from jobrunner.client.desk import Answer
from jobrunner.client.figures_local import LocalFigures
from jobrunner.client.fleet_local import LocalFleet
from jobrunner.client.halves import Halves
from jobrunner.client.keys_local import LocalKeys, row_id
from jobrunner.client.operations_local import LocalOperations
from jobrunner.client.who import whoever
from jobrunner.db import schema
from jobrunner.db.engine import Database, open_database
from jobrunner.db.hints import Hints
from jobrunner.db.lock import PATIENCE, FileLock
from jobrunner.db.notes import CANCEL, ENDED, WATCH, WORK, Notes, notify
from jobrunner.errors import (
    DatabaseUnavailable,
    JobrunnerError,
    SchemaMismatch,
    TaskExists,
    TaskNotFound,
)
from jobrunner.handlers import load as load_handlers
from jobrunner.queue import store, views
from jobrunner.queue import task as tasks
from jobrunner.queue.request import ALIKE
from jobrunner.queue.store import Change, Submitted
from jobrunner.queue.task import NewTask, Status
from jobrunner.queue.views import TaskFilter, TaskView, shapes
from jobrunner.submission import Request, prepare

SELDOM = 0.02  # seconds since the last hint, after which the next goes out by itself


class Local(LocalFigures, LocalFleet, LocalKeys, LocalOperations, Halves):
    """Works on the database at ``url``; a SQLite file stays locked while the desk is open.

    ``handlers`` are modules whose task types are known here without a worker having published them. ``database`` is one
    that this process has open already, with its file locked; it is left open. Raises SchemaMismatch where the schema
    does not fit, DatabaseLocked where a server owns the file.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_unknown: bool = False,
        handlers: Sequence[str] = (),
        database: Database | None = None,
    ) -> None:
        self._allow_unknown = allow_unknown
        self._handlers = handlers
        path = url.removeprefix("sqlite:///")
        self.exclusive = path != url and database is None
        self._lock = _locked(path) if self.exclusive else None
        self._owned = database is None
        self._database = database or open_database(url, pool_size=2)
        self._hints: Hints | None = None
        self._operations: Operations | None = None
        self._awaiting = Awaiting(self._ended)
        self._hinted_at = -math.inf
        self._loaded = False
        try:
            with self._database.begin() as conn:
                schema.check(conn)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        if self._hints is not None:
            self._hints.stop()
        if self._owned:
            self._database.dispose()
        if self._lock is not None:
            self._lock.drop()

    def submit(self, task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> Answer:
        self._load()
        request = Request(task_type, task_data, options)
        seldom = self._hints_seldom()
        # Where none was sent for a while it goes with the task, in one commit; where it is sure to be added here.
        together = seldom and not (request.keyed or self.exclusive)
        with self._database.single() as conn:
            new = prepare(conn, request, allow_unknown=self._allow_unknown)
            told = store.enqueue(conn, new, notes=self._notes(new.task_id) if together else None)
            if seldom and not together:
                with suppress(DBAPIError):  # what was asked is committed; a worker finds it by itself
                    notify(conn, self._notes(told.task_id))
        if not seldom:
            for topic, task_ids in self._notes(told.task_id).items():
                self._sender().tell(topic, task_ids)
        return _submitted(told)

    def submit_many(self, requests: Sequence[Request]) -> list[Answer | JobrunnerError]:
        """Add tasks, each for itself; an answer or a refusal for each, in order. In one transaction, where all can be.

        Raises DatabaseUnavailable where nobody said whether they were added.
        """
        self._load()
        with self._database.begin() as conn:
            checked = [self._checked(conn, request) for request in requests]
            new = [found for found in checked if isinstance(found, NewTask)]
            try:
                with conn.begin_nested():
                    stored = iter(store.enqueue_many(conn, new))
            except TaskExists:
                stored = None
        if stored is None:  # one of them is in the way of all: each goes alone
            return [self._alone(request) for request in requests]
        self._sender().tell(WORK)
        return [_submitted(next(stored)) if isinstance(found, NewTask) else found for found in checked]

    def task(self, task_id: str) -> Answer:
        with self._read() as conn:
            return shapes.task_dict(views.task(conn, task_id))

    def wait(self, task_ids: Sequence[str], seconds: float) -> list[Answer]:
        if self.exclusive:  # as long as this desk is open nobody works on the file
            return []
        return [shapes.task_dict(view) for view in self._awaiting.wait(self._sender(), task_ids, seconds)]

    def look_again(self) -> None:
        """Let a ``wait`` in another thread come back after one look."""
        self._awaiting.look_again()

    def tasks(
        self,
        *,
        statuses: Sequence[str] = (),
        task_type: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        node: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        prefix: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Answer:
        wanted = tuple(Status(status) for status in statuses)
        wish = TaskFilter(wanted, task_type, queue, None, tag, node, created_after, created_before, prefix)
        with self._read() as conn:
            before = row_id("tasks", cursor)
            return shapes.tasks_dict(views.tasks_page(conn, wish, before=before, limit=limit))

    def attempts(self, task_id: str) -> Answer:
        with self._read() as conn:
            views.status(conn, task_id)
            return shapes.attempts_dict(views.task_attempts(conn, task_id))

    def logs(self, task_id: str, *, after: int = 0) -> Answer:
        with self._read() as conn:
            views.status(conn, task_id)
            return shapes.logs_dict(views.task_logs_page(conn, task_id, after=after), after)

    def only_cancel(self, task_id: str, reason: str = "") -> None:
        with self.changing("POST /api/v1/tasks/{task_id}/cancel", task_id, reason=reason) as change:
            now = store.cancel(change.conn, task_id, reason)
        if now is Status.RUNNING:
            self._sender().tell(CANCEL)
        else:
            self._sender().tell(ENDED, [task_id])

    def only_retry(self, task_id: str) -> None:
        with self.changing("POST /api/v1/tasks/{task_id}/retry", task_id) as change:
            store.retry(change.conn, task_id)
        self._sender().tell(WORK)

    def why(self, task_id: str) -> Answer:
        with self._read() as conn:
            return shapes.why_dict(views.why(conn, task_id))

    def rerun(self, task_id: str, changes: Mapping[str, Any]) -> Answer:
        like = self.task(task_id)
        kept = {name: like[name] for name in ALIKE}
        given = {name: value for name, value in changes.items() if value is not None}
        task_data = given.pop("task_data", like["task_data"])
        return self.submit(like["task_type"], task_data, {**kept, **given})

    def nodes(self) -> Answer:
        with self._read() as conn:
            return shapes.nodes_dict(views.all_nodes(conn))

    def overview(self) -> Answer:
        with self._read() as conn:
            return shapes.overview_dict(views.health(conn), views.counts(conn))

    def schedules(self) -> Answer:
        with self._read() as conn:
            return shapes.schedules_dict(views.all_schedules(conn))

    def schedule(self, name: str) -> Answer:
        with self._read() as conn:
            return shapes.schedule_dict(schedules.found(conn, name))

    def save_schedule(self, name: str, entry: Mapping[str, Any]) -> Answer:
        given = dict(entry)
        given["payload"] = given.pop("task_data", None)
        with self.changing("POST /api/v1/schedules", name, **schedules.audited(entry)) as change:
            return shapes.schedule_dict(schedules.save(change.conn, name, allow_unknown=self._allow_unknown, **given))

    def edit_schedule(self, name: str, changes: Mapping[str, Any]) -> Answer:
        with self.changing("PATCH /api/v1/schedules/{name}", name, **schedules.audited(changes)) as change:
            saved = schedules.edit(change.conn, name, changes, allow_unknown=self._allow_unknown)
            return shapes.schedule_dict(saved)

    def pause_schedule(self, name: str) -> Answer:
        with self.changing("POST /api/v1/schedules/{name}/pause", name) as change:
            return shapes.schedule_dict(schedules.pause(change.conn, name))

    def resume_schedule(self, name: str) -> Answer:
        with self.changing("POST /api/v1/schedules/{name}/resume", name) as change:
            return shapes.schedule_dict(schedules.resume(change.conn, name))

    def run_schedule(self, name: str) -> Answer:
        with self.changing("POST /api/v1/schedules/{name}/run", name) as change:
            task_id = schedules.run_now(change.conn, name)
            change.tell(task_id=task_id)
        self._sender().tell(WORK)
        return {"task_id": task_id, "status": str(Status.PENDING)}

    def remove_schedule(self, name: str) -> None:
        with self.changing("DELETE /api/v1/schedules/{name}", name) as change:
            schedules.remove(change.conn, name)

    def _load(self) -> None:
        if not self._loaded:
            load_handlers(self._handlers)  # so that a task can be submitted before the first worker ever ran
            self._loaded = True

    def _checked(self, conn: Connection, request: Request) -> NewTask | JobrunnerError:
        try:
            return prepare(conn, request, allow_unknown=self._allow_unknown)
        except DatabaseUnavailable:
            raise
        except JobrunnerError as error:  # of this request alone
            return error

    def _alone(self, request: Request) -> Answer | JobrunnerError:
        try:
            return self.submit(*request)
        except DatabaseUnavailable:
            raise
        except JobrunnerError as error:
            return error

    def _hints_seldom(self) -> bool:
        """Whether no hint was sent a moment ago: the hints of a program that asks on and on are gathered."""
        last, self._hinted_at = self._hinted_at, time.monotonic()
        return self._hinted_at - last > SELDOM

    def _notes(self, task_id: str) -> Notes:
        """What to tell of a task that was added."""
        watch: Notes = {WATCH: [task_id]} if self._awaiting.submitted(task_id) else {}
        return {**watch, WORK: ()}  # a worker that hears of work begins at once, and then has to know who waits

    def _sender(self) -> Hints:
        if self._hints is None:
            self._hints = Hints(self._database, self._awaiting.heard, listen=False)
            self._hints.start()
        return self._hints

    def _ended(self, task_ids: Sequence[str]) -> list[TaskView]:
        with self._database.read(own=True) as conn:
            if len(task_ids) > PART:
                task_ids = views.ended_among(conn, task_ids)[:PART]
            if len(task_ids) == 1:
                with suppress(TaskNotFound):
                    return [view for view in [views.task(conn, task_ids[0])] if view.status in tasks.ENDED]
            return [view for view in views.tasks_among(conn, task_ids) if view.status in tasks.ENDED]

    @contextmanager
    def changing(self, action: str, target: str | None = None, /, **details: Any) -> Iterator[Change]:
        """A transaction for a change that people ask for, and for what the audit tells of it."""
        with self._database.begin() as conn:
            change = Change(conn, target, details)
            yield change
            store.record(conn, whoever(), action, change.target, change.details)

    def looking(self) -> AbstractContextManager[Connection]:
        """A connection for looking."""
        return self._read()

    def carrying(self) -> Operations:
        """What carries operations on, and hints of what came of them; always the same one, as it learns."""

        def ended(task_ids: Collection[str]) -> None:
            self._sender().tell(ENDED, task_ids)

        def cancel_hint() -> None:
            self._sender().tell(CANCEL)

        if self._operations is None:
            self._operations = Operations(self._database, ended=ended, cancel_hint=cancel_hint, wake=self.wake)
        return self._operations

    def wake(self) -> None:
        """Hint to the workers that there is something to claim."""
        self._sender().tell(WORK)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        # On SQLite the one writing connection: a read-only one cannot open a file whose log was left by a crash.
        with self._database.begin(free=True) as conn:
            yield conn


def _submitted(told: Submitted) -> Answer:
    return {"task_id": told.task_id, "status": str(told.status), "created": told.created}


def _locked(path: str) -> FileLock:
    if not Path(path).exists():
        raise SchemaMismatch(f"there is no database {path} yet; make one with: jobrunner up (or: jobrunner db upgrade)")
    lock = FileLock(path)
    lock.take(patience=PATIENCE)
    return lock
