"""What goes wrong with a rehearsal itself; what goes wrong with a task stands in its report."""

from __future__ import annotations

from jobrunner.errors import JobrunnerError


class RehearsalError(JobrunnerError):
    """A task cannot be rehearsed: its process does not start, it does not end, or no two of its runs are alike."""
