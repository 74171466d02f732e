"""What a forked copy of this process must not go on holding: it may outlive the process.

Handlers that run in the worker may fork there (``os.fork``, multiprocessing). A lock, a port or a pipe is free only
once every copy of it is closed, so the copies close theirs at once. Programs that are started inherit none of it.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Protocol


class _Open(Protocol):
    def fileno(self) -> int: ...


_ours: weakref.WeakSet[_Open] = weakref.WeakSet()
_nothing: list[int] = []  # one, once it is needed: a file that is always empty


def keep_from_forks(thing: _Open) -> None:
    """Whatever is forked from this process from now on does not hold this open file, socket or pipe."""
    if not _nothing:
        _nothing.append(os.open(os.devnull, os.O_RDWR))  # now: a fork may happen where no more files may be opened
    _ours.add(thing)


def _let_go() -> None:
    # The number stays taken, so that the copy of the object closes no file that was opened in its place.
    for thing in list(_ours):
        with suppress(OSError, ValueError):  # it was closed meanwhile
            if (number := thing.fileno()) >= 0:
                os.dup2(_nothing[0], number, inheritable=False)


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_let_go)
