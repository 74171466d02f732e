"""Figures and failures by kind, as a desk has them; and how they are asked for over REST."""

from __future__ import annotations

from typing import Any, Protocol

from jobrunner.client.asking import OverRest, part

Answer = dict[str, Any]


class FigureDesk(Protocol):
    """What can be asked about what ended."""

    def stats(self) -> Answer:
        """``counts`` by status, ``queues``, and what ended in the last hour by ``types`` and (``ended``) by queue."""
        ...

    def errors(self) -> Answer:
        """The newest failed tasks in groups, ``errors``, the one that failed last first."""
        ...

    def error(self, fingerprint: str) -> Answer:
        """One group with its ``task_ids``."""
        ...


class RemoteFigures:
    """The same over REST."""

    def stats(self: OverRest) -> Answer:
        return self.call("GET", "/api/v1/stats", needed=("counts", "queues", "types"))

    def errors(self: OverRest) -> Answer:
        return self.call("GET", "/api/v1/errors", needed=("errors",))

    def error(self: OverRest, fingerprint: str) -> Answer:
        return self.call("GET", f"/api/v1/errors/{part(fingerprint)}", needed=("fingerprint", "task_ids"))
