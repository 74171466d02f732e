"""The standard library's logging, kept with the attempt that logs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar

from jobrunner.handlers.context import Context

running: ContextVar[Context | None] = ContextVar("running", default=None)
"""The attempt whose code runs here, for attempts that share a process with others."""

_busy: ContextVar[bool] = ContextVar("busy", default=False)


class AttemptLog(logging.Handler):
    """Hands records to the attempt that ``find`` names; without one they go nowhere from here."""

    def __init__(self, find: Callable[[], Context | None]) -> None:
        super().__init__()
        self._find = find
        self.setFormatter(logging.Formatter("%(message)s"))  # level and logger are kept beside it

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record, with the traceback that it carries."""
        context = self._find()
        if context is None or _busy.get():  # what logs on the way of a line would log for ever
            return
        known = _busy.set(True)
        try:
            context.log(self.format(record), level=record.levelname.lower(), logger=record.name)
        except Exception:  # noqa: BLE001  a record that cannot be formatted is told on stderr, as logging does
            self.handleError(record)
        finally:
            _busy.reset(known)


_kept = AttemptLog(running.get)
_handed_on = logging.Logger.callHandlers
_installing = threading.Lock()
_installed = False


def keep_own() -> None:
    """From now on keep what attempts log that share this process; what others log goes where it went.

    It is no handler of the root logger: with one, a program that has not set up its logging has no warnings on stderr
    any more, and its ``basicConfig`` does nothing. Filters of loggers have had their say by then.
    """
    global _handed_on, _installed
    with _installing:  # of two at a time each would wrap the other, and every line be kept twice
        if not _installed:
            _handed_on, _installed = logging.Logger.callHandlers, True
            logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign, assignment]  # behind filters


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    _kept.handle(record)
    _handed_on(logger, record)
