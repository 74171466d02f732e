"""Handlers at their worst: they die, hang, hoard, fork and grab. Imported by the tests and by their child processes."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from jobrunner.errors import Cancel, InvalidInput, LeaseLost, RetryLater
from jobrunner.handlers import Context, task

BLOCKS: list[bytes] = []


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


@task("raise")
def raise_(what: str) -> None:
    raise {
        "exit": SystemExit(0),
        "interrupt": KeyboardInterrupt(),
        "generator": GeneratorExit("g"),
        "mute": Mute(),
        "leaving": Leaving(),
        "group": ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
        "base": BaseException("base"),
        "memory": MemoryError("none left"),
        "later": RetryLater(7.5, "not yet"),
        "grouped later": ExceptionGroup("tasks", [RetryLater(3.0)]),
        "cancel": Cancel("no use"),
        "refuse": InvalidInput("no such symbol"),
        "lost": LeaseLost("gone"),
        "stop iteration": StopIteration(1),
        "cancelled": asyncio.CancelledError(),
    }[what]


@task("recurse")
def recurse(depth: int = 0) -> None:
    recurse(depth + 1)


@task("return")
def return_(what: str) -> Any:
    looped: list[Any] = []
    looped.append(looped)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    return {
        "object": object(),
        "nan": float("nan"),
        "nul": "a\0b",
        "surrogate": "\ud800",
        "loop": looped,
        "deep": deep,
        "large": "x" * 100_000_000 if what == "large" else "",
        "bytes": b"x",
        "big": 10**400,
        "key": {1: 2},
    }[what]


@task("sleep_and_mark")
def sleep_and_mark(path: str, seconds: float = 60.0) -> None:
    try:
        time.sleep(seconds)
    finally:
        Path(path).write_text("cleaned up")


@task("hold_the_gil")
def hold_the_gil() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


@task("spin")
def spin() -> None:
    while True:
        pass


@task("ignore_term")
def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


@task("swallow")
def swallow() -> str:
    while True:
        try:
            time.sleep(60)
        except BaseException as error:
            if type(error).__name__ == "Stopped":
                return "swallowed"


_SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]
_DAEMON = (
    "import os, sys, time\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
    "time.sleep(300)\n"
)


def _family(path: str) -> None:
    """A fork, a subprocess, one in its own session, and a daemon that nobody is the parent of."""
    forked = os.fork()
    if forked == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    plain = subprocess.Popen(_SLEEPER)
    session = subprocess.Popen(_SLEEPER, start_new_session=True)
    subprocess.run([sys.executable, "-S", "-c", _DAEMON, path], check=True)
    while not Path(path).exists():
        time.sleep(0.01)
    with open(path, "a") as told:
        told.write(f"{os.getpid()}\n{forked}\n{plain.pid}\n{session.pid}\n")
    Path(path + ".ready").touch()


@task("family")
def family(path: str, then: str) -> None:
    _family(path)
    if then == "sleep":
        time.sleep(300)
    elif then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif then == "spin":
        re.match(r"(a+)+$", "a" * 64 + "b")


@task("die")
def die(how: str) -> None:
    print("last words", flush=True)
    if how == "segfault":
        faulthandler._sigsegv()  # type: ignore[attr-defined]
    elif how == "null":
        ctypes.string_at(0)
    elif how == "exit 0":
        os._exit(0)
    elif how == "exit 3":
        os._exit(3)
    elif how == "abort":
        os.abort()
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@task("die_later")
def die_later() -> None:
    threading.Timer(0.2, os._exit, [4]).start()


@task("eat", memory_mb=150)
def eat(mb: int, seconds: float = 60.0) -> None:
    BLOCKS.append(b"x" * (mb * 2**20))
    time.sleep(seconds)


@task("eat_freely")
def eat_freely(mb: int, seconds: float = 60.0) -> None:
    block = b"x" * (mb * 2**20)
    print("eaten")
    time.sleep(seconds)
    del block


@task("eat_in_grandchild", memory_mb=150)
def eat_in_grandchild(mb: int) -> None:
    program = f"import time; block = b'x' * ({mb} * 2**20); time.sleep(60)"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)


@task("fork_and_return")
def fork_and_return() -> str:
    if os.fork() == 0:
        return "from the fork"
    os.wait()
    return "from the parent"


@task("leave_process")
def leave_process() -> int:
    return subprocess.Popen(_SLEEPER, start_new_session=True).pid


@task("close_everything")
def close_everything() -> str:
    os.closerange(0, 200)
    return "closed"


@task("close_the_line")
def close_the_line(seconds: float = 0.0) -> str:
    os.closerange(0, 4_096)
    time.sleep(seconds)
    return "closed"


@task("leave_thread")
def leave_thread(ctx: Context) -> None:
    def talk_on() -> None:
        for number in range(500):
            ctx.log(f"too late {number}")
            ctx.progress(0.5, "too late")
            _ = ctx.cancelled
            time.sleep(0.001)

    threading.Thread(target=talk_on, daemon=True).start()


@task("write_nonsense")
def write_nonsense() -> None:
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                os.write(int(number), b"GET / HTTP/1.1")
    time.sleep(60)


@task("close_stdout")
def close_stdout() -> None:
    print("before")
    os.close(1)
    os.close(2)


@task("replace_stdout")
def replace_stdout() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout.close()


@task("take_signal")
def take_signal() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@task("fork_bomb")
def fork_bomb(path: str, most: int = 200) -> None:
    """Every process starts the next one, each in a session of its own."""
    program = (
        "import os, sys, time\n"
        "for number in range(int(sys.argv[2])):\n"
        "    if os.fork(): time.sleep(300)\n"
        "    os.setsid()\n"
        "    open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "    time.sleep(0.02)\n"
        "time.sleep(300)\n"
    )
    subprocess.run([sys.executable, "-S", "-c", program, path, str(most)], check=True)


@task("tidy_slowly")
def tidy_slowly(path: str) -> None:
    try:
        time.sleep(60)
    finally:
        time.sleep(0.5)
        Path(path).write_text("tidy")
