"""Progress at a bearable rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

INTERVAL = 0.1  # seconds between two reports


class Pacer:
    """Passes reports on, at most one per interval; of those that come faster, the latest, when its time has come."""

    def __init__(self, send: Callable[[float | None, str], None], interval: float = INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._lock = threading.Lock()
        self._next = 0.0
        self._held: tuple[float | None, str] | None = None
        self._timer: threading.Timer | None = None

    def tell(self, fraction: float | None, message: str) -> None:
        """Pass this report on, now or soon."""
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                self._held = None
                self._next = now + self._interval
                self._send(fraction, message)
                return
            self._held = (fraction, message)
            if self._timer is None:  # the handler may say nothing more for an hour
                self._timer = threading.Timer(self._next - now, self._late)
                self._timer.daemon = True
                self._timer.name = "progress"
                self._timer.start()

    def flush(self) -> None:
        """Pass on at once what is held."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._pass_on()

    def _late(self) -> None:
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        self._timer = None
        if self._held is not None:
            held, self._held = self._held, None
            self._next = time.monotonic() + self._interval
            self._send(*held)
