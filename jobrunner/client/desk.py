"""What can be asked of a queue, wherever it is: the same calls and answers over REST and at the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from jobrunner.client.figures import FigureDesk
from jobrunner.client.fleet import FleetDesk
from jobrunner.client.keys import KeyDesk
from jobrunner.client.operations import OperationDesk

Answer = dict[str, Any]


class Desk(FigureDesk, FleetDesk, KeyDesk, OperationDesk, Protocol):
    """One place to ask. Answers are the JSON objects of REST, times in RFC 3339.

    Raises TaskNotFound, StateConflict and their like at the database, :class:`jobrunner.client.errors.Refused` over
    REST. ``exclusive`` is True where an open desk keeps other processes out: close it between two looks.
    """

    exclusive: bool

    def __enter__(self) -> Desk: ...

    def __exit__(self, *_: object) -> None: ...

    def submit(self, task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> Answer:
        """Add a task: ``task_id``, ``status``, and ``created``, False where an equal request was there before.

        ``options`` are those of :func:`jobrunner.queue.request.new_task`; ``run_at`` and ``expires_at`` aware.
        """
        ...

    def task(self, task_id: str) -> Answer:
        """One task with ``task_data`` and ``result``."""
        ...

    def wait(self, task_ids: Sequence[str], seconds: float) -> list[Answer]:
        """Those of these that have ended, as ``task`` tells them, as soon as there is one: some of them, not all.

        Empty after so many seconds, or earlier where a wait is not possible here.
        """
        ...

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
        """A page of ``tasks``, newest first, and the ``next_cursor``: go on as long as there is one.

        ``node`` is an id, ``prefix`` how a task_id begins; the times are aware, the first instant and the one after
        the last.
        """
        ...

    def attempts(self, task_id: str) -> Answer:
        """The ``attempts`` of a task that ended badly or were released, oldest first."""
        ...

    def logs(self, task_id: str, *, after: int = 0) -> Answer:
        """A page of kept ``logs`` after an offset, and ``next_after``."""
        ...

    def cancel(self, task_id: str, reason: str = "") -> Answer:
        """Cancel a task; returns it as it is now. ``reason`` is kept as its error.

        Raises OutcomeUnknown where it was done, and the look behind it found nobody; so does ``retry``.
        """
        ...

    def retry(self, task_id: str) -> Answer:
        """Run a failed or cancelled task again; returns it as it is now."""
        ...

    def only_cancel(self, task_id: str, reason: str = "") -> None:
        """Cancel a task, for who looks at it by himself: a look may be tried again without doing it again."""
        ...

    def only_retry(self, task_id: str) -> None:
        """Run a failed or cancelled task again, likewise."""
        ...

    def why(self, task_id: str) -> Answer:
        """The ``reasons`` why a task is not running, each with its ``code`` and ``detail``; at least one."""
        ...

    def rerun(self, task_id: str, changes: Mapping[str, Any]) -> Answer:
        """Add a task like this one but for ``task_data``, ``queue``, ``priority`` and ``task_id`` in ``changes``.

        Returns ``task_id``, ``status`` and ``created``, as ``submit`` does.
        """
        ...

    def nodes(self) -> Answer:
        """The ``nodes``, living ones first."""
        ...

    def overview(self) -> Answer:
        """``verdict`` (ok, no_node, late), ``nodes_alive``, ``waiting_seconds`` and ``counts`` by status."""
        ...

    def schedules(self) -> Answer:
        """The ``schedules``, the next to fire first."""
        ...

    def schedule(self, name: str) -> Answer:
        """One schedule."""
        ...

    def save_schedule(self, name: str, entry: Mapping[str, Any]) -> Answer:
        """Add or replace a schedule: ``cron`` or ``every``, ``timezone``, ``task_type``, ``task_data`` and options."""
        ...

    def edit_schedule(self, name: str, changes: Mapping[str, Any]) -> Answer:
        """Change some of what ``save_schedule`` takes, and keep the rest; returns the schedule.

        ``task_data`` are all arguments at once, ``arguments`` those that change.
        """
        ...

    def pause_schedule(self, name: str) -> Answer:
        """Stop a schedule; returns it."""
        ...

    def resume_schedule(self, name: str) -> Answer:
        """Let a schedule fire again; returns it."""
        ...

    def run_schedule(self, name: str) -> Answer:
        """Submit a schedule's task now; returns its ``task_id`` and ``status``."""
        ...

    def remove_schedule(self, name: str) -> None:
        """Delete a schedule; its tasks stay."""
        ...
