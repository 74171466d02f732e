"""A thread that does what is due, and sleeps until something is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobrunner.logs import get_logger

log = get_logger(__name__)


@dataclass
class Duty:
    """What to do every so many seconds at most; ``act`` returns the seconds after which it is due again, or None."""

    act: Callable[[], float | None]
    every: float
    at: float = 0.0  # by the monotonic clock


class Clock:
    """Does its duties in one thread, one after the other: they share the worker's connections, and none is urgent.

    Each begins at some moment of its first period, so that processes that were started together do not go in step. One
    that raises is told and due again after its period: the clock never ends because of it.
    """

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="duties", daemon=True)

    def start(self) -> None:
        """Begin."""
        moment = time.monotonic()
        for duty in self._duties:
            duty.at = moment + duty.every * random.random()  # noqa: S311 - no secret
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; does not wait for what is being done."""
        self._stopped.set()

    def _run(self) -> None:
        while True:
            duty = min(self._duties, key=lambda one: one.at)
            if self._stopped.wait(max(0.0, duty.at - time.monotonic())):
                return
            duty.at = time.monotonic() + self._rest(duty)

    def _rest(self, duty: Duty) -> float:
        try:
            rest = duty.act()
        except Exception:
            log.exception("duty failed")
            rest = None
        return duty.every if rest is None else min(rest, duty.every)
