"""Handlers that return, talk, report and write. Imported by the tests and by their child processes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import Any

from jobrunner.errors import LeaseLost
from jobrunner.handlers import Context, Retry, effect, task


@task("add")
def add(a: int, b: int = 1) -> int:
    return a + b


@task("noop")
def noop() -> None:
    return None


@task("pid")
def pid() -> int:
    return os.getpid()


@task("fail", retry=Retry(base=8.0, factor=1.0))
def fail() -> None:
    raise ValueError("wrong \x00 bytes \ud800 and \x1b[31mcolour")


@task("sleep")
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@task("talk")
def talk(ctx: Context) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("my.module").warning("logged %s", "well")
    ctx.log("said", level="debug", n=1, odd={1, 2})
    os.system("echo from a shell")
    sys.stdout.write("without an end")


@task("flood")
def flood(lines: int, width: int = 80) -> None:
    for number in range(lines):
        print(f"{number:0{width}}")


@task("flood_bytes")
def flood_bytes(count: int) -> None:
    for _ in range(count // 65_536):
        os.write(1, b"\xff\x1b[2J\x00" * 13_107)


@task("flood_log")
def flood_log(lines: int, ctx: Context) -> None:
    for number in range(lines):
        ctx.log(f"line {number}")


@task("bar")
def bar() -> None:
    for percent in range(101):
        sys.stderr.write(f"\r{percent} %")
        sys.stderr.flush()
    sys.stderr.write("\n")


@task("progress")
def progress(count: int, ctx: Context) -> None:
    for number in range(count):
        ctx.progress(number / count, f"step {number}")


@task("progress_and_wait")
def progress_and_wait(ctx: Context) -> None:
    ctx.progress(0.1, "first")
    ctx.progress(0.2, "second")
    time.sleep(2.0)


@task("watch")
def watch(ctx: Context) -> str:
    while not ctx.cancelled:
        time.sleep(0.01)
    return "seen"


@task("environment")
def environment() -> dict[str, Any]:
    files = []
    for number in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the directory that was being read
            continue
    return {"names": sorted(os.environ), "argv": sys.argv, "stdin": sys.stdin.read(), "files": files}


@task("facts")
def facts(ctx: Context) -> dict[str, Any]:
    return {
        "task_id": ctx.task_id,
        "task_type": ctx.task_type,
        "attempt": ctx.attempt,
        "token": ctx.token,
        "generation": ctx.generation,
        "tags": ctx.tags,
        "traceparent": ctx.traceparent,
    }


@effect("count")
def count(conn: Any, rows: list[Any]) -> int:
    return len(rows)


@task("apply")
def apply(rows: list[int], ctx: Context) -> Any:
    return ctx.apply("count", rows)


@task("apply_caught")
def apply_caught(ctx: Context) -> str:
    try:
        ctx.apply(count, [1])
    except LeaseLost as lost:
        return str(lost)
    return "applied"


@task("on_complete")
def on_complete(rows: list[Any], ctx: Context) -> str:
    ctx.on_complete(count, rows)
    ctx.on_complete("count", [])
    return "done"


@task("on_complete_odd")
def on_complete_odd(ctx: Context) -> None:
    ctx.on_complete(count, [object()])


@task("transaction")
def transaction(ctx: Context) -> None:
    with ctx.transaction() as tx:
        tx.complete()


@task("echo")
def echo(text: str) -> str:
    return text


@effect("failing")
def failing(conn: Any, rows: list[Any]) -> None:
    1 / 0  # noqa: B018


@task("apply_failing")
def apply_failing(ctx: Context) -> None:
    ctx.apply(failing, [])


class Impatient(Exception):
    pass


@task("apply_impatiently")
def apply_impatiently(ctx: Context) -> list[Any]:
    def ring(*_: object) -> None:
        raise Impatient

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        ctx.apply(count, [1, 2])
        first = 0
    except Impatient:
        first = 1
    return [first, ctx.apply(count, [1, 2, 3])]


@task("print")
def print_(text: str) -> bool:
    print(text, flush=True)
    return sys.stdout is sys.__stdout__


@task("fail_with_secret")
def fail_with_secret() -> None:
    raise ConnectionError("cannot reach postgresql://user:canary@host/db")


HOARD: list[bytes] = []


@task("hoard")
def hoard(mb: int) -> int:
    HOARD.append(b"x" * (mb * 2**20))
    return os.getpid()


@task("loaded")
def loaded(names: list[str]) -> list[str]:
    return [name for name in names if name in sys.modules]
