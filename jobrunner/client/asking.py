"""What the parts of a desk share: one call over REST, one look and one change at the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jobrunner.client.desk import Answer
    from jobrunner.queue.store import Change


class OverRest(Protocol):
    """A desk over REST, as its parts see it."""

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        needed: Collection[str] | None,
    ) -> Answer:
        """One call, whose answer has at least what is ``needed``; None where it has no content, which is told as {}.

        What is None in ``query`` is not sent.
        """
        ...


class AtDatabase(Protocol):
    """A desk at the database, as its parts see it."""

    def looking(self) -> AbstractContextManager[Connection]:
        """A connection for looking."""
        ...

    def changing(self, action: str, target: str | None = None, /, **details: Any) -> AbstractContextManager[Change]:
        """A transaction for a change, which the audit tells of with it; ``action`` is the call that REST has for it."""
        ...

    def wake(self) -> None:
        """Hint to the workers that there is something to claim."""
        ...


def part(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")
