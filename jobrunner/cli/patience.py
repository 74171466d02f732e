"""What a command does when no answer comes: wait on while a server starts anew, and say so."""

from __future__ import annotations

import time

from jobrunner.cli.output import talk
from jobrunner.client.errors import Unreachable
from jobrunner.client.tries import passes
from jobrunner.errors import DatabaseLocked, JobrunnerError

WAIT_ON = 60.0  # seconds for which who waits bears an outage: a server drains for 25 before it starts anew
REST = 1.0  # seconds between two looks at whether it is over


class Patience:
    """Bears one outage after the other; ``answered`` tells that somebody answered before, and is no slip of the pen."""

    def __init__(self, *, answered: bool = False) -> None:
        self.answered = answered
        self._since: float | None = None

    def heard(self) -> None:
        """Somebody answered."""
        if self._since is not None:
            talk("There is an answer again.")
        self.answered, self._since = True, None

    def rest(self, error: JobrunnerError) -> None:
        """Wait a little; raises ``error`` where that does not help, or did not for WAIT_ON seconds."""
        if not (self.answered and passes_by(error)):
            raise error
        now = time.monotonic()
        if self._since is None:
            self._since = now
            talk(f"{reason(error)}; waiting on, for {WAIT_ON:g} s at most")
        if now - self._since >= WAIT_ON:
            raise error
        time.sleep(REST)


def passes_by(error: JobrunnerError) -> bool:
    """Whether it may be otherwise in a moment, also where a server just takes or leaves its SQLite file."""
    return passes(error) or isinstance(error, DatabaseLocked)


def reason(error: JobrunnerError) -> str:
    """Why there is no answer, without the advice that fits who has no server at all."""
    if isinstance(error, Unreachable):
        broke = error.__cause__
        why = (str(broke) or type(broke).__name__) if broke is not None else "what it says is not jobrunner's"
        return f"no answer from {error.url} ({why})"
    return str(error)
