"""What only POSIX, or only Linux, offers to keep hold of processes: one function each, nothing at import."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the public setitimer makes an enum of each timer: 2 of its 4 µs
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_PR_SET_PDEATHSIG = 1
_HIGH = 200  # descriptors below this number are what programs close when they tidy up
_TIMERS = (0, 1, 2)  # ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF, names which Windows does not have


def tie_to_parent(parent: int) -> None:
    """This process shall not outlive its parent, not even where the parent is killed (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def be_expendable() -> None:
    """Let the kernel, when memory is short, end this process rather than the worker; and leave no core dumps."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("500")


def park(line: socket.socket) -> socket.socket:
    """The same socket under a high number, where programs that close all low ones do not find it."""
    import fcntl

    with suppress(OSError):  # the limit of open files may lie lower
        high = socket.socket(fileno=fcntl.fcntl(line.fileno(), fcntl.F_DUPFD_CLOEXEC, _HIGH))
        line.close()
        return high
    return line


def watch_exit(process: subprocess.Popen[bytes], exited: Callable[[], None]) -> None:
    """Call ``exited`` in the running loop once the process has ended; it is not reaped yet."""
    import asyncio  # which children, who use this module too, need not load

    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        _watch_in_thread(process, exited, loop)
        return
    watched = os.pidfd_open(process.pid)

    def over() -> None:
        loop.remove_reader(watched)
        os.close(watched)
        exited()

    loop.add_reader(watched, over)


def _watch_in_thread(process: subprocess.Popen[bytes], exited: Callable[[], None], loop: AbstractEventLoop) -> None:
    def wait() -> None:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop is gone, and with it everybody who cared
            loop.call_soon_threadsafe(exited)

    threading.Thread(target=wait, daemon=True).start()


def reap(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Take the exit of an ended process: its code (a signal is negative), and its peak memory in bytes."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def signal_group(leader: int, *, kill: bool) -> None:
    """TERM or KILL to the process group of a child that was not reaped yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL if kill else signal.SIGTERM)


def disarm() -> None:
    """No interval timer of this process rings any more, that of ``signal.alarm`` among them; costs three system calls.

    A ring that nobody awaits ends the process, or raises in the middle of other code.
    """
    for timer in _TIMERS:
        _signal.setitimer(timer, 0)


class Footing:
    """Where a process stands, its working directory and umask, to come back to: two system calls."""

    def __init__(self) -> None:
        import fcntl

        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._folder: int | None = None
        with suppress(OSError):  # it may not be looked into, or the limit of open files lies lower
            folder = self._folder = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))  # it may have lost its name
            self._folder = fcntl.fcntl(folder, fcntl.F_DUPFD_CLOEXEC, _HIGH)
            os.close(folder)

    def regain(self) -> bool:
        """Come back; False where that cannot be, as after somebody closed every file."""
        os.umask(self._umask)
        if self._folder is None:
            return True
        try:
            os.fchdir(self._folder)
        except OSError:
            return False
        return True


def has_children() -> bool:
    """Whether this process has children of its own, running or not; costs one system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def peak_memory() -> int:
    """The most memory that this process ever had, in bytes; on Linux at least what its parent had at its start."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_now() -> int:
    """The memory that this process holds now, in bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)
