"""What both clients do, once: written as coroutines over a Place, which knows whether anything suspends."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from jobrunner.client import shapes
from jobrunner.client.errors import ClientClosed, TaskCancelled, TaskFailed, WaitTimeout
from jobrunner.client.place import Place
from jobrunner.client.shapes import Event, LogLine, Options, Request, Task, TaskState
from jobrunner.client.tries import passes
from jobrunner.errors import JobrunnerError
from jobrunner.queue.request import new_id
from jobrunner.queue.task import Status

SOONEST, LATEST = 0.05, 1.0  # seconds between two looks where the place cannot wait by itself
LOOK = 0.5  # seconds between two looks for new log lines


class Core:
    """The calls of a client at the place that ``make`` makes: one now, and one in each forked copy of the process."""

    def __init__(self, make: Callable[[], Place]) -> None:
        self._make = make
        self._place: Place | None = make()
        self._of_parent: list[Place] = []  # kept, lest their connections be closed, which the parent goes on using
        self._making = threading.Lock()
        self._closed = False
        _cores.add(self)

    @property
    def place(self) -> Place:
        """Where this process asks. Raises ClientClosed."""
        if self._closed:
            raise ClientClosed
        if self._place is None:
            with self._making:
                if self._place is None:
                    self._place = self._make()
        return self._place

    async def close(self) -> None:
        """Let go of all connections of this process."""
        self._closed = True
        if self._place is not None:
            await self._place.close()

    def forked(self) -> None:
        """Leave the place to the parent, of which this process is a copy."""
        if self._place is not None:
            self._of_parent.append(self._place)
        self._place = None
        self._making = threading.Lock()  # the old one may be held by a thread that the copy does not have

    async def submit(self, task_type: str, data: Mapping[str, Any] | None, options: Options) -> str:
        """Add a task; the task_id, which an earlier request with its unique_key may have chosen."""
        told = await self.place.submit(_named(Request(task_type, {} if data is None else data, options)))
        return str(told["task_id"])

    async def submit_many(self, requests: Iterable[Request]) -> list[str | JobrunnerError]:
        """Add many, each for itself; a task_id or a refusal for each, in order."""
        told = await self.place.submit_many([_named(request) for request in requests])
        return [one if isinstance(one, JobrunnerError) else str(one["task_id"]) for one in told]

    async def wait(self, task_id: str, within: float | None) -> Task:
        """The task once it has ended. Raises WaitTimeout after ``within`` seconds."""
        until = math.inf if within is None else time.monotonic() + within
        pause = SOONEST
        while True:
            asked_at = time.monotonic()
            left = max(0.0, until - asked_at)
            try:
                told = await self.place.wait(task_id, left, left)
            except JobrunnerError as error:
                if left > self.place.patience or not passes(error):
                    raise
                # It is the caller's time that is over, or will be before another try: so the end is as it was asked.
                await self.place.sleep(max(0.0, until - time.monotonic()))
                raise WaitTimeout(task_id, within or 0.0, "", str(error)) from error
            task = shapes.task(told)
            if task.ended:
                return task
            if time.monotonic() >= until:
                raise WaitTimeout(task_id, within or 0.0, task.status)
            rest = min(asked_at + pause, until) - time.monotonic()
            if rest > 0:  # it could not be waited for
                await self.place.sleep(rest)
                pause = min(LATEST, pause * 1.4)

    async def result(self, task_id: str, within: float | None) -> dict[str, Any] | None:
        """What the task returned. Raises WaitTimeout, TaskFailed or TaskCancelled."""
        task = await self.wait(task_id, within)
        if task.status is Status.FAILED:
            tried = (await self.place.attempts(task_id))["attempts"]
            raise TaskFailed(task_id, task.error or "", tried)
        if task.status is Status.CANCELLED:
            raise TaskCancelled(task_id, task.error or "")
        return task.result

    async def results(
        self, told: Sequence[str | JobrunnerError], within: float | None, return_exceptions: bool = False
    ) -> AsyncGenerator[dict[str, Any] | JobrunnerError | None, None]:
        """The results of these in order; raises or yields, at its place, what one of them came to instead."""
        until = math.inf if within is None else time.monotonic() + within
        silent = ""  # why nobody answered, once the time was over: the others are not asked for, each for a moment
        for one in told:
            left = None if within is None else max(0.0, until - time.monotonic())
            if silent and left == 0.0 and isinstance(one, str):
                came: dict[str, Any] | JobrunnerError | None = WaitTimeout(one, left, "", silent)
            else:
                came = await self._came(one, left)
            if isinstance(came, WaitTimeout):
                silent = came.reason
            if isinstance(came, JobrunnerError) and not return_exceptions:
                raise came
            yield came

    async def _came(self, one: str | JobrunnerError, within: float | None) -> dict[str, Any] | JobrunnerError | None:
        if isinstance(one, JobrunnerError):
            return one
        try:
            return await self.result(one, within)
        except JobrunnerError as error:
            return error

    async def task(self, task_id: str) -> Task:
        """The task as it is now."""
        return shapes.task(await self.place.task(task_id))

    async def cancel(self, task_id: str, reason: str) -> Task:
        """Cancel it; the task as it is now."""
        return shapes.task(await self.place.cancel(task_id, reason))

    async def retry(self, task_id: str) -> Task:
        """Run it anew; the task as it is now."""
        return shapes.task(await self.place.retry(task_id))

    async def logs(self, task_id: str, *, follow: bool) -> AsyncGenerator[LogLine, None]:
        """The kept lines; with ``follow`` those to come as well, until the task has ended."""
        after = 0
        ended = not follow
        while True:
            page = await self.place.logs(task_id, after)
            for line in page["logs"]:
                yield shapes.log_line(line)
            after = page["next_after"]
            if page["logs"]:
                continue
            if ended:
                return
            # Looked at before the next page: what was written last is then read.
            asked_at = time.monotonic()
            ended = shapes.task(await self.place.wait(task_id, LOOK, math.inf)).ended
            if not ended:
                await self.place.sleep(max(0.0, asked_at + LOOK - time.monotonic()))

    async def task_events(self, task_id: str) -> AsyncGenerator[TaskState, None]:
        """The task's states as they change, until the final one."""
        place = self.place
        async with aclosing(place.task_events(task_id)) as events:
            async for told in events:
                yield shapes.state({"task_id": task_id, **told})
                self._check_stream(place)

    async def events(self, queue: str | None) -> AsyncGenerator[Event, None]:
        """What changes, for ever."""
        place = self.place
        async with aclosing(place.events(queue)) as events:
            async for kind, data, event_id in events:
                yield shapes.event(kind, data, event_id)
                self._check_stream(place)

    def _check_stream(self, place: Place) -> None:
        if self.place is not place:  # read by two processes, each would miss what the other reads
            raise JobrunnerError("this stream was begun before the process was forked: begin one in the copy")


def split(
    task_type: str,
    items: Iterable[Any],
    *,
    argument: str | None,
    chunk: int | None,
    data: Mapping[str, Any] | None,
    options: Options,
) -> Iterator[Request]:
    """The requests of ``map``: each item as a task's data or as its ``argument``, or lists of ``chunk`` items."""
    if chunk is not None and (argument is None or chunk < 1):
        raise ValueError("chunk is the number of items, 1 or more, in the list that goes into argument; give both")
    if options.get("task_id") is not None or options.get("unique_key") is not None:
        raise ValueError("map makes many tasks, which cannot share a task_id or a unique_key; use submit_many")
    common = data or {}
    if argument is None:
        for item in items:
            if not isinstance(item, Mapping):
                raise TypeError(f"without argument each item is the data of a task, a mapping, and not {item!r}")
            yield Request(task_type, {**common, **item}, options)
    elif chunk is None:
        for item in items:
            yield Request(task_type, {**common, argument: item}, options)
    else:
        every = list(items)
        for start in range(0, len(every), chunk):
            yield Request(task_type, {**common, argument: every[start : start + chunk]}, options)


def _named(request: Request) -> Request:
    """With a task_id, so that it may be asked again."""
    if request.options.get("task_id") is not None:
        return request
    options: Options = {**request.options, "task_id": new_id()}
    return Request(request.task_type, request.data, options)


def _forked() -> None:
    for core in list(_cores):
        core.forked()


_cores: weakref.WeakSet[Core] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_forked)
