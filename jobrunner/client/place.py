"""Where a client asks, as its logic sees it: a server, or the database itself. One protocol for both kinds of client.

Its methods are coroutines. Those of an asynchronous client wait in the loop; those of a plain one do their work before
they return and never suspend, so that :func:`jobrunner.client.blocking.run` needs no loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from jobrunner.client.desk import Answer
from jobrunner.client.shapes import Request
from jobrunner.errors import JobrunnerError

Submitted = Answer | JobrunnerError
"""What became of one of many: an answer as of ``submit``, or why there is none."""


class Place(Protocol):
    """Answers are the JSON objects of REST. Every call is asked again where that is sound, for ``patience`` seconds."""

    patience: float

    async def submit(self, request: Request) -> Answer:
        """Add one task, whose options have a task_id."""
        ...

    async def submit_many(self, requests: Sequence[Request]) -> list[Submitted]:
        """Add tasks that have task_ids, all for themselves; an answer or a refusal for each, in order."""
        ...

    async def task(self, task_id: str) -> Answer:
        """One task, now."""
        ...

    async def wait(self, task_id: str, seconds: float, patience: float) -> Answer:
        """One task once it has ended, at the latest after ``seconds``, or earlier where a wait is not possible.

        ``patience`` (seconds) limits the tries where nobody answers.
        """
        ...

    async def attempts(self, task_id: str) -> Answer:
        """The kept ``attempts`` of a task."""
        ...

    async def logs(self, task_id: str, after: int) -> Answer:
        """A page of ``logs``, and ``next_after``."""
        ...

    async def cancel(self, task_id: str, reason: str) -> Answer:
        """Cancel a task; returns it as it is now."""
        ...

    async def retry(self, task_id: str) -> Answer:
        """Run a task anew; returns it as it is now."""
        ...

    def events(self, queue: str | None) -> AsyncGenerator[tuple[str, Answer, str], None]:
        """All that changes, for ever: an event's kind, data and id."""
        ...

    def task_events(self, task_id: str) -> AsyncGenerator[Answer, None]:
        """The states of one task as they change, until the final one."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Rest."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
