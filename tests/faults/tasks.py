"""Handlers that write down each of their executions, in a way of their own: a ledger that no kill can unwrite."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from sqlalchemy import Connection, text

from jobrunner.errors import Cancel, InvalidInput, LeaseLost, RetryLater
from jobrunner.handlers import Context, Retry, effect, task

QUICKLY = Retry(base=0.05, factor=1.0)


def note(ledger: str, ctx: Context, what: str) -> None:
    """Append one line. No other process tears it, but a SIGKILL may, where the write crosses a page of the file.

    So each begins with the line's end: what a kill left of the last one stays on a line of its own.
    """
    line = {"task_id": ctx.task_id, "attempt": ctx.attempt, "what": what, "at": time.time(), "pid": os.getpid()}
    number = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(number, ("\n" + json.dumps(line)).encode())
    finally:
        os.close(number)


@effect("fault.row")
def row(conn: Connection, rows: list[Any]) -> None:
    """One row for each time that somebody's completion was committed."""
    for one in rows:
        conn.execute(text("INSERT INTO ledger (task_id, attempt) VALUES (:task_id, :attempt)"), one)


@effect("fault.broken")
def broken(conn: Connection, rows: list[Any]) -> None:
    row(conn, rows)
    raise ValueError("the effect fails after its write")


VERDICTS: dict[str, Exception] = {
    "fault.later": RetryLater(3600.0, "not yet"),
    "fault.cancels": Cancel("no use"),
    "fault.refuses": InvalidInput("no such symbol"),
    "fault.says_lost": LeaseLost("gone"),
    "fault.wrong": ValueError("wrong"),
}


def _raising(name: str, error: Exception) -> None:
    @effect(name)
    def raising(conn: Connection, rows: list[Any]) -> None:
        raise error


for _name, _error in VERDICTS.items():
    _raising(_name, _error)


def _end(ledger: str, ctx: Context) -> dict[str, Any]:
    """The last line, and the result: it says whose it is."""
    note(ledger, ctx, "end")
    return {"task_id": ctx.task_id, "attempt": ctx.attempt}


def _ask(ledger: str, ctx: Context, effect: str) -> None:
    if effect:
        note(ledger, ctx, "asks for its effect")
        ctx.on_complete(effect, [{"task_id": ctx.task_id, "attempt": ctx.attempt}])


@task("fault.work", retry=QUICKLY)
def work(ledger: str, ctx: Context, seconds: float = 0.0, effect: str = "") -> dict[str, Any]:
    note(ledger, ctx, "begin")
    _ask(ledger, ctx, effect)
    time.sleep(seconds)
    return _end(ledger, ctx)


@task("fault.async", retry=QUICKLY)
async def work_async(ledger: str, ctx: Context, seconds: float = 0.0, effect: str = "") -> dict[str, Any]:
    note(ledger, ctx, "begin")
    _ask(ledger, ctx, effect)
    await asyncio.sleep(seconds)
    return _end(ledger, ctx)


@task("fault.nothing")
async def nothing(ledger: str) -> None:
    """Not even a line: for tests that count rows."""


@task("fault.inline", retry=QUICKLY, isolation="inline")
def work_inline(ledger: str, ctx: Context, seconds: float = 0.0, effect: str = "") -> dict[str, Any]:
    note(ledger, ctx, "begin")
    _ask(ledger, ctx, effect)
    time.sleep(seconds)
    return _end(ledger, ctx)


@task("fault.transaction", retry=QUICKLY)
def transaction(ledger: str, ctx: Context) -> None:
    note(ledger, ctx, "begin")
    note(ledger, ctx, "asks for its effect")
    with ctx.transaction() as tx:
        row(tx.conn, [{"task_id": ctx.task_id, "attempt": ctx.attempt}])
        tx.complete({"task_id": ctx.task_id, "attempt": ctx.attempt})
    note(ledger, ctx, "end")


@task("fault.talk", retry=QUICKLY)
def talk(ledger: str, ctx: Context, lines: int, seconds: float) -> dict[str, Any]:
    note(ledger, ctx, "begin")
    for number in range(lines):
        ctx.progress(number / lines, f"step {number}")
        ctx.log(f"line {number}")
        time.sleep(seconds / lines)
    return _end(ledger, ctx)


@task("fault.fail", retry=QUICKLY)
def fail(ledger: str, ctx: Context, until_attempt: int) -> dict[str, Any]:
    note(ledger, ctx, "begin")
    if ctx.attempt < until_attempt:
        raise ValueError(f"attempt {ctx.attempt} fails")
    return _end(ledger, ctx)


@task("fault.die", retry=QUICKLY)
def die(ledger: str, ctx: Context) -> None:
    note(ledger, ctx, "begin")
    os.kill(os.getpid(), 9)


@task("fault.eat", retry=QUICKLY, memory_mb=200)
def eat(ledger: str, ctx: Context, mb: int, seconds: float = 30.0) -> dict[str, Any]:
    note(ledger, ctx, "begin")
    block = b"x" * (mb * 2**20)
    time.sleep(seconds)
    del block
    return _end(ledger, ctx)


@task("fault.eat_freely", retry=QUICKLY)
def eat_freely(ledger: str, ctx: Context, mb: int, seconds: float = 30.0) -> dict[str, Any]:
    return eat(ledger, ctx, mb, seconds)


@task("fault.family")
def family(ledger: str, ctx: Context) -> None:
    """A sleeper in this group and one in a session of its own."""
    program = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]
    started = [subprocess.Popen(program), subprocess.Popen(program, start_new_session=True)]
    for one in started:
        note(ledger, ctx, f"started {one.pid}")
    note(ledger, ctx, "begin")
    time.sleep(300)


@task("fault.forks", isolation="inline")
def forks(ledger: str, ctx: Context, with_pool: bool) -> None:
    """A copy of the worker, which does nothing and does not end."""
    if with_pool:
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
        copy = pool.submit(os.getpid).result()
    elif not (copy := os.fork()):
        while True:
            time.sleep(300)
    note(ledger, ctx, f"forked {copy}")
    time.sleep(300)


@task("fault.deaf_async", timeout=0.5, max_attempts=1)
async def deaf_async(ledger: str, ctx: Context) -> None:
    """Never gives the loop back."""
    note(ledger, ctx, "begin")
    time.sleep(300)


@task("fault.holds_later")
async def holds_later(ledger: str, ctx: Context) -> None:
    """Gives the loop back once, until its worker has nothing else to do.

    After its last task a worker looks again after 0.02 s, then after twice as long each time: from 2.5 to 5.1 s it only
    stands by. Held at 1 s, a busy machine met it in the middle of a look, where it stands by for nobody.
    """
    note(ledger, ctx, "begin")
    await asyncio.sleep(3.8)
    note(ledger, ctx, "holds")
    time.sleep(300)


@task("fault.stubborn_async")
async def stubborn_async(ledger: str, ctx: Context) -> None:
    """Gives the loop back, and ignores every wish that it end."""
    note(ledger, ctx, "begin")
    while True:
        try:
            await asyncio.sleep(300)
        except asyncio.CancelledError:
            note(ledger, ctx, "ignored")


@task("fault.deaf_inline", isolation="inline")
def deaf_inline(ledger: str, ctx: Context) -> None:
    note(ledger, ctx, "begin")
    time.sleep(300)
