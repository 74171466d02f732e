"""The client for plain code, and the handles of the tasks that it submitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, Unpack, overload

from jobrunner.client.blocking import iterate, run
from jobrunner.client.core import Core, split
from jobrunner.client.http import Verify
from jobrunner.client.shapes import Event, LogLine, MapOptions, Options, Request, Task, TaskState
from jobrunner.client.where import Where
from jobrunner.errors import JobrunnerError


class Handle:
    """One task, wherever it runs. Made by a client, and good as long as that is open."""

    def __init__(self, core: Core, task_id: str) -> None:
        self._core = core
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"Handle({self.task_id!r})"

    def wait(self, timeout: float | None = None) -> Task:
        """Wait for its end, however it ends. Raises WaitTimeout after ``timeout`` seconds: the task goes on."""
        return run(self._core.wait(self.task_id, timeout))

    def result(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Wait for what it returns; what is no object comes as ``{"value": ...}``.

        Raises TaskFailed with the remote traceback, TaskCancelled, or WaitTimeout after ``timeout`` seconds.
        """
        return run(self._core.result(self.task_id, timeout))

    def status(self) -> Task:
        """The task as it is now."""
        return run(self._core.task(self.task_id))

    def logs(self, *, follow: bool = False) -> Iterator[LogLine]:
        """Its kept lines, oldest first; with ``follow`` also those to come, until it has ended."""
        return iterate(self._core.logs(self.task_id, follow=follow))

    def events(self) -> Iterator[TaskState]:
        """Its states as they change, and the final one last; states in between may be missing."""
        return iterate(self._core.task_events(self.task_id))

    def cancel(self, reason: str = "") -> Task:
        """Cancel it: at once while it waits, on request while it runs. Returns the task as it is now."""
        return run(self._core.cancel(self.task_id, reason))

    def retry(self) -> Task:
        """Run it anew where it failed or was cancelled; returns the task as it is now."""
        return run(self._core.retry(self.task_id))


class Client:
    """Submits tasks and waits for them: at the server of ``url``, else at the database.

    Without ``url`` and ``database_url`` the environment decides: ``JOBRUNNER_URL`` with ``JOBRUNNER_API_KEY``, else the
    database of the settings (``config`` is their file). There, a task that is waited for, and that no living worker
    would run, is run by this process, unless ``run_here`` is False.

    A call that nobody answers is asked again for ``patience`` seconds in all, each try for ``timeout`` seconds, where
    asking twice is as good as asking once: submissions go under a task_id made here. ``verify`` is how the server's
    certificate is checked, an SSLContext where its authority is your own. May be used by several threads, and by
    forked copies of the process, each of which asks on connections of its own.

    Raises Refused where the server refuses, with the classes of the database's own refusals (TaskNotFound,
    InvalidInput, TaskExists, StateConflict); Unreachable where nothing was done for certain, and OutcomeUnknown where
    nobody said so in time.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        database_url: str | None = None,
        config: str | Path | None = None,
        timeout: float = 15.0,
        patience: float = 30.0,
        run_here: bool = True,
        verify: Verify = True,
    ) -> None:
        where = Where(url, api_key, database_url, config, timeout, patience, run_here, verify)
        self._core = Core(where.plain())

    @classmethod
    def from_env(cls) -> Self:
        """A client as the environment and the settings say; the same as ``Client()``."""
        return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a worker of this process ends what it runs first. Tasks elsewhere go on."""
        run(self._core.close())

    def submit(self, task_type: str, data: Mapping[str, Any] | None = None, **options: Unpack[Options]) -> Handle:
        """Add a task of ``task_type`` with ``data`` as its arguments."""
        return Handle(self._core, run(self._core.submit(task_type, data, options)))

    def submit_many(self, requests: Iterable[Request]) -> list[Handle | JobrunnerError]:
        """Add many tasks, each for itself: a handle for each in order, or the error why it has none."""
        told = run(self._core.submit_many(requests))
        return [one if isinstance(one, JobrunnerError) else Handle(self._core, one) for one in told]

    @overload
    def map(
        self,
        task_type: str,
        items: Iterable[Any],
        *,
        return_exceptions: Literal[False] = False,
        **wish: Unpack[MapOptions],
    ) -> Iterator[dict[str, Any] | None]: ...

    @overload
    def map(
        self,
        task_type: str,
        items: Iterable[Any],
        *,
        return_exceptions: bool,
        **wish: Unpack[MapOptions],
    ) -> Iterator[dict[str, Any] | JobrunnerError | None]: ...

    def map(
        self,
        task_type: str,
        items: Iterable[Any],
        *,
        argument: str | None = None,
        chunk: int | None = None,
        data: Mapping[str, Any] | None = None,
        within: float | None = None,
        return_exceptions: bool = False,
        **options: Unpack[Options],
    ) -> Iterator[dict[str, Any] | JobrunnerError | None]:
        """Submit a task for each item now, and yield their results in order as they come.

        An item is a task's data; with ``argument`` it is that argument of it, and with ``chunk`` as well, that argument
        is a list of so many items. ``data`` goes to all of them. Where a task came to no result, or not ``within``
        seconds (of all together), what it came to is raised at its place, and the iteration is over; with
        ``return_exceptions`` it is yielded there, and the iteration goes on. The other tasks go on either way.
        """
        wanted = split(task_type, items, argument=argument, chunk=chunk, data=data, options=options)
        told = run(self._core.submit_many(wanted))
        return iterate(self._core.results(told, within, return_exceptions))

    def handle(self, task_id: str) -> Handle:
        """The handle of a task that was submitted elsewhere, as by ``jobrunner.enqueue``. Asks nobody."""
        return Handle(self._core, task_id)

    def task(self, task_id: str) -> Task:
        """A task as it is now. Raises TaskNotFound."""
        return run(self._core.task(task_id))

    def cancel(self, task_id: str, reason: str = "") -> Task:
        """Cancel a task: at once while it waits, on request while it runs. Returns it as it is now."""
        return run(self._core.cancel(task_id, reason))

    def retry(self, task_id: str) -> Task:
        """Run a failed or cancelled task anew; returns it as it is now."""
        return run(self._core.retry(task_id))

    def events(self, queue: str | None = None) -> Iterator[Event]:
        """What changes, for ever: a snapshot first, then what differs. Goes on across restarts of the server."""
        return iterate(self._core.events(queue))
