"""Handlers that leave something behind in their process, and ones that find it."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from jobrunner.handlers import Context, task


@task("leave timers")
def leave_timers(seconds: float) -> None:
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, seconds)


@task("be busy")
def be_busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@task("leave elsewhere")
def leave_elsewhere(folder: str, *, close: bool = False) -> dict[str, Any]:
    os.chdir(folder)
    os.umask(0o077)
    if close:
        os.closerange(3, 100)
    return {"pid": os.getpid()}


@task("where")
def where() -> dict[str, Any]:
    mask = os.umask(0)
    os.umask(mask)
    return {"pid": os.getpid(), "folder": os.getcwd(), "umask": mask}


@task("leave threads")
def leave_threads(count: int = 1, seconds: float = 60.0, *, exits: bool = False) -> int:
    def wait() -> None:
        time.sleep(seconds)
        if exits:
            os._exit(0)

    for number in range(count):
        threading.Thread(target=wait, name=f"left-{number}", daemon=True).start()
    return os.getpid()


@task("make our threads")
def make_our_threads(ctx: Context) -> None:
    """Progress that is held back waits in a thread of ours."""
    ctx.progress(0.1)
    ctx.progress(0.2)


@task("exit")
def exit_(after: float = 0.0) -> None:
    time.sleep(after)
    os._exit(3)
