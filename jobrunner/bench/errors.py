"""What ends a measurement without a figure.

JobrunnerError
└── BenchFailed  a process ended early, or the work was not done exactly once
"""

from __future__ import annotations

from jobrunner.errors import JobrunnerError


class BenchFailed(JobrunnerError):
    """A measurement came to nothing: what was seen, and the end of the guilty process's log."""
