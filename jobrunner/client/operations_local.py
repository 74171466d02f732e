"""Work on many tasks at once, begun and carried on straight at the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import Connection

from jobrunner.background.operations import Operations
from jobrunner.client.desk import Answer
from jobrunner.client.operations import REST_NAMES, given
from jobrunner.client.who import whoever
from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue import store, views
from jobrunner.queue.operation import Action
from jobrunner.queue.store import Change, Chosen
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter, shapes

PART = 0.5  # seconds of work between two looks


class _AtDatabase(Protocol):
    """A desk at the database, as operations see it."""

    def looking(self) -> AbstractContextManager[Connection]: ...

    def changing(self, action: str, target: str | None = None, /, **details: Any) -> AbstractContextManager[Change]: ...

    def carrying(self) -> Operations: ...

    def carry_on(self, operation_id: str) -> Answer: ...


class LocalOperations:
    """What can be asked about operations, at the database."""

    def operate(
        self: _AtDatabase,
        action: str,
        *,
        chosen: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Answer:
        wish = Chosen(ids=list(ids)) if ids is not None else Chosen(filter=_filter(given(chosen)))
        told = {"action": action, "dry_run": dry_run, **wish.told()}
        with self.changing("POST /api/v1/operations", **told) as change:
            begun = change.target = store.begin_operation(
                change.conn, Action(action), wish, queues=None, dry_run=dry_run, by=whoever()
            )
        return self.carry_on(begun)

    def purge_queue(self: _AtDatabase, name: str, *, dry_run: bool = False) -> Answer:
        waiting = Chosen(filter=TaskFilter(statuses=(Status.PENDING,), queue=name))
        with self.changing("POST /api/v1/queues/{name}/purge", name, dry_run=dry_run) as change:
            views.one_queue(change.conn, name)
            begun = store.begin_operation(
                change.conn, Action.CANCEL, waiting, queues=None, dry_run=dry_run, by=whoever()
            )
            change.tell(operation=begun)
        return self.carry_on(begun)

    def carry_on(self: _AtDatabase, operation_id: str) -> Answer:
        self.carrying().carry_on(operation_id, budget=PART)
        with self.looking() as conn:
            return shapes.plain(views.one_operation(conn, operation_id))

    def operations(self: _AtDatabase) -> Answer:
        with self.looking() as conn:
            return {"operations": [shapes.plain(one) for one in views.all_operations(conn)]}

    def abort_operation(self: _AtDatabase, operation_id: str) -> Answer:
        with self.changing("DELETE /api/v1/operations/{operation_id}", operation_id) as change:
            views.one_operation(change.conn, operation_id)
            store.abort_operation(change.conn, operation_id)
            return shapes.plain(views.one_operation(change.conn, operation_id))


def _filter(wish: dict[str, Any]) -> TaskFilter:
    if not wish:
        raise InvalidInput("the request is refused", [Problem("/filter", "must say which tasks")])
    empty = [
        Problem(f"/filter/{REST_NAMES.get(name, name)}", "is empty") for name, value in wish.items() if value == ""
    ]
    if empty:
        raise InvalidInput("the request is refused", empty)
    statuses = tuple(Status(status) for status in wish.pop("statuses", ()))
    return TaskFilter(statuses=statuses, **wish)
