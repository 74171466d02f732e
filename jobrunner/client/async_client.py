"""The client for code in a loop, with the same names as the plain one: what waits there is awaited here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, Self, Unpack, overload

from jobrunner.client.core import Core, split
from jobrunner.client.http import Verify
from jobrunner.client.shapes import Event, LogLine, MapOptions, Options, Request, Task, TaskState
from jobrunner.client.where import Where
from jobrunner.errors import JobrunnerError


class AsyncHandle:
    """One task, wherever it runs. Made by a client, and good as long as that is open."""

    def __init__(self, core: Core, task_id: str) -> None:
        self._core = core
        self.task_id = task_id

    def __repr__(self) -> str:
        return f"AsyncHandle({self.task_id!r})"

    async def wait(self, timeout: float | None = None) -> Task:  # noqa: ASYNC109 - the plain client's name
        """Wait for its end, however it ends. Raises WaitTimeout after ``timeout`` seconds: the task goes on."""
        return await self._core.wait(self.task_id, timeout)

    async def result(self, timeout: float | None = None) -> dict[str, Any] | None:  # noqa: ASYNC109 - likewise
        """Wait for what it returns; what is no object comes as ``{"value": ...}``.

        Raises TaskFailed with the remote traceback, TaskCancelled, or WaitTimeout after ``timeout`` seconds.
        """
        return await self._core.result(self.task_id, timeout)

    async def status(self) -> Task:
        """The task as it is now."""
        return await self._core.task(self.task_id)

    def logs(self, *, follow: bool = False) -> AsyncGenerator[LogLine, None]:
        """Its kept lines, oldest first; with ``follow`` also those to come, until it has ended."""
        return self._core.logs(self.task_id, follow=follow)

    def events(self) -> AsyncGenerator[TaskState, None]:
        """Its states as they change, and the final one last; states in between may be missing."""
        return self._core.task_events(self.task_id)

    async def cancel(self, reason: str = "") -> Task:
        """Cancel it: at once while it waits, on request while it runs. Returns the task as it is now."""
        return await self._core.cancel(self.task_id, reason)

    async def retry(self) -> Task:
        """Run it anew where it failed or was cancelled; returns the task as it is now."""
        return await self._core.retry(self.task_id)


class AsyncClient:
    """A :class:`jobrunner.client.Client` for asyncio, with the same arguments, calls and exceptions.

    Streams (``logs``, ``events``, ``map``) are ``async for``; whoever leaves one early closes it with
    ``contextlib.aclosing``, or leaves that to :meth:`close`. Of a wait that is cancelled nothing stays open; the task
    goes on. At a database its calls run in threads of its own, few of them however many tasks are waited for.
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
        self._core = Core(where.looping())

    @classmethod
    def from_env(cls) -> Self:
        """A client as the environment and the settings say; the same as ``AsyncClient()``."""
        return cls()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a worker of this process ends what it runs first. Tasks elsewhere go on."""
        await self._core.close()

    async def submit(
        self, task_type: str, data: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> AsyncHandle:
        """Add a task of ``task_type`` with ``data`` as its arguments."""
        return AsyncHandle(self._core, await self._core.submit(task_type, data, options))

    async def submit_many(self, requests: Iterable[Request]) -> list[AsyncHandle | JobrunnerError]:
        """Add many tasks, each for itself: a handle for each in order, or the error why it has none."""
        told = await self._core.submit_many(requests)
        return [one if isinstance(one, JobrunnerError) else AsyncHandle(self._core, one) for one in told]

    @overload
    def map(
        self,
        task_type: str,
        items: Iterable[Any],
        *,
        return_exceptions: Literal[False] = False,
        **wish: Unpack[MapOptions],
    ) -> AsyncGenerator[dict[str, Any] | None, None]: ...

    @overload
    def map(
        self,
        task_type: str,
        items: Iterable[Any],
        *,
        return_exceptions: bool,
        **wish: Unpack[MapOptions],
    ) -> AsyncGenerator[dict[str, Any] | JobrunnerError | None, None]: ...

    async def map(
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
    ) -> AsyncGenerator[dict[str, Any] | JobrunnerError | None, None]:
        """Submit a task for each item when the iteration begins, and yield their results in order as they come.

        An item is a task's data; with ``argument`` it is that argument of it, and with ``chunk`` as well, that argument
        is a list of so many items. ``data`` goes to all of them. Where a task came to no result, or not ``within``
        seconds (of all together), what it came to is raised at its place, and the iteration is over; with
        ``return_exceptions`` it is yielded there, and the iteration goes on. The other tasks go on either way.
        """
        wanted = split(task_type, items, argument=argument, chunk=chunk, data=data, options=options)
        told = await self._core.submit_many(wanted)
        async with aclosing(self._core.results(told, within, return_exceptions)) as results:
            async for result in results:
                yield result

    def handle(self, task_id: str) -> AsyncHandle:
        """The handle of a task that was submitted elsewhere, as by ``jobrunner.enqueue``. Asks nobody."""
        return AsyncHandle(self._core, task_id)

    async def task(self, task_id: str) -> Task:
        """A task as it is now. Raises TaskNotFound."""
        return await self._core.task(task_id)

    async def cancel(self, task_id: str, reason: str = "") -> Task:
        """Cancel a task: at once while it waits, on request while it runs. Returns it as it is now."""
        return await self._core.cancel(task_id, reason)

    async def retry(self, task_id: str) -> Task:
        """Run a failed or cancelled task anew; returns it as it is now."""
        return await self._core.retry(task_id)

    def events(self, queue: str | None = None) -> AsyncGenerator[Event, None]:
        """What changes, for ever: a snapshot first, then what differs. Goes on across restarts of the server."""
        return self._core.events(queue)
