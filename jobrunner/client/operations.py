"""Work on many tasks at once, as a desk has it; and how it is asked for over REST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jobrunner.client.asking import OverRest, part

Answer = dict[str, Any]

_OPERATION = ("id", "action", "state")


class OperationDesk(Protocol):
    """What can be asked about operations: cancel, retry, delete or rerun of all tasks that fit."""

    def operate(
        self,
        action: str,
        *,
        chosen: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Answer:
        """Begin one for the tasks with these ``ids``, or that fit ``chosen``: a filter in the words of ``tasks``.

        A dry run only counts them. What is small is done when this returns.
        """
        ...

    def purge_queue(self, name: str, *, dry_run: bool = False) -> Answer:
        """Begin one that cancels all that waits in a queue."""
        ...

    def carry_on(self, operation_id: str) -> Answer:
        """One operation as it is now. At the database this process does a part of it first."""
        ...

    def operations(self) -> Answer:
        """The latest ``operations``, newest first."""
        ...

    def abort_operation(self, operation_id: str) -> Answer:
        """End one before its end; returns it."""
        ...


REST_NAMES = {"statuses": "status", "task_type": "type", "prefix": "q"}
"""What the words of ``tasks`` are called in a filter over REST; others are called the same."""


class RemoteOperations:
    """The same over REST."""

    def operate(
        self: OverRest,
        action: str,
        *,
        chosen: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Answer:
        body: dict[str, Any] = {"action": action, "dry_run": dry_run}
        if ids is not None:
            body["ids"] = list(ids)
        else:
            body["filter"] = {REST_NAMES.get(name, name): _plain(value) for name, value in given(chosen).items()}
        return self.call("POST", "/api/v1/operations", body=body, needed=_OPERATION)

    def purge_queue(self: OverRest, name: str, *, dry_run: bool = False) -> Answer:
        return self.call("POST", f"/api/v1/queues/{part(name)}/purge", body={"dry_run": dry_run}, needed=_OPERATION)

    def carry_on(self: OverRest, operation_id: str) -> Answer:
        return self.call("GET", f"/api/v1/operations/{part(operation_id)}", needed=_OPERATION)

    def operations(self: OverRest) -> Answer:
        return self.call("GET", "/api/v1/operations", needed=("operations",))

    def abort_operation(self: OverRest, operation_id: str) -> Answer:
        return self.call("DELETE", f"/api/v1/operations/{part(operation_id)}", needed=_OPERATION)


def given(chosen: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a filter says. An empty text says something too, which is refused: it must never fit all there are."""
    return {name: value for name, value in (chosen or {}).items() if value is not None and value not in ([], ())}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
