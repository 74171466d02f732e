"""What can go wrong between a client and a running jobrunner.

JobrunnerError
├── Unreachable  nobody answers at the URL
└── Refused      the server answered with an error status
"""

from __future__ import annotations

from jobrunner.errors import JobrunnerError


class Unreachable(JobrunnerError):
    """Nobody answers at the URL, or what answers is not jobrunner."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"no jobrunner answers at {url} ({reason}); start one with: jobrunner up")


class Refused(JobrunnerError):
    """The server answered with an error; ``status`` is HTTP's, ``problem`` the answer's JSON object or empty."""

    def __init__(self, status: int, told: str, problem: dict[str, object]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(told)
